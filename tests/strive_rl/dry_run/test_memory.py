"""Estimates against what is really made: weights, prompts, caches, optimizer state, kept tensors."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from strive_rl.config import (
    AlgorithmSettings,
    DataSettings,
    OptimSettings,
    PolicySettings,
    RolloutSettings,
    TrainSettings,
)
from strive_rl.dry_run.memory import Estimate, ModelShape, estimate, model_shape, packaged_config, read_shape
from strive_rl.policy import Policy, Sampling, encode, layers, load_policy, logprobs, sample, with_features
from strive_rl.policy.architectures import ARCHITECTURES
from strive_rl.policy.generate import Decoding
from strive_rl.schema import Completion, Group
from strive_rl.train.optimizer import Optimizer
from tests.strive_rl.made.groups import make_group

SETTINGS = TrainSettings(
    data=DataSettings(questions_per_step=1, variants=2),
    policy=PolicySettings(device="cpu"),
    rollout=RolloutSettings(completions=3, max_new_tokens=10),
)
TIMES = (tuple(float(i) for i in range(8)), tuple(float(i) for i in range(8)))
LONGEST = Completion(ids=tuple(range(65, 76)), logprobs=(0.0,) * 11, text="", finished=True)


def estimated(policy: Policy, shape: ModelShape, settings: TrainSettings = SETTINGS) -> Estimate:
    """For 8 frames of 224×224, whose sides are multiples of both models' tokens, and no question."""
    return estimate(shape, settings, frames=8, frame_pixels=224 * 224, bytes_a_weight=4, text_tokens=0)


def with_policy(**settings: Any) -> TrainSettings:
    return replace(SETTINGS, policy=replace(SETTINGS.policy, **settings))


def test_weights_are_counted_exactly(any_policy: Policy) -> None:
    shape = read_shape(any_policy.name)
    parameters = sum(each.numel() for each in any_policy.model.parameters())
    assert shape.parameters == parameters
    assert estimated(any_policy, shape).sampling["weights"] == 4 * parameters


@pytest.mark.parametrize("changed", [{}, {"train_vision": True}, {"lora_rank": 3}])
def test_trainable_parameters_and_optimizer_state(any_policy: Policy, changed: dict[str, Any]) -> None:
    policy = load_policy(any_policy.name, PolicySettings(device="cpu", **changed))
    optimizer = Optimizer(policy.trainable(), OptimSettings())
    for _, parameter in policy.trainable():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(1e-6)
    state = optimizer.state()["adamw"]["state"].values()
    held = sum(each[name].nbytes for each in state for name in ("exp_avg", "exp_avg_sq"))
    made = estimated(policy, read_shape(any_policy.name), with_policy(**changed))
    assert made.trainable_parameters == sum(each.numel() for _, each in policy.trainable())
    assert made.update["optimizer"] == held
    assert made.update["gradients"] == held // 2


@pytest.mark.parametrize(("frame_pairs", "patches"), [("consecutive", 4), ("doubled", 8)])
def test_video_tokens_are_those_of_a_prompt(any_policy: Policy, frame_pairs: Any, patches: int) -> None:
    policy = replace(any_policy, settings=replace(any_policy.settings, frame_pairs=frame_pairs))
    (prompt,) = encode(policy, make_group(times=TIMES[:1], side=224))
    shape = read_shape(any_policy.name)
    made = estimated(policy, shape, with_policy(frame_pairs=frame_pairs))
    assert made.video_tokens == prompt.is_video.sum()
    assert made.prompt_tokens == made.video_tokens + patches * shape.patch_text_tokens


def test_keys_and_values_of_prompts_and_completions(
    any_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the last token of a completion, whose keys nothing sees."""
    shape = read_shape(any_policy.name)
    prompts = encode(any_policy, make_group(times=TIMES, side=224))
    text = len(prompts[0].ids) - estimated(any_policy, shape).prompt_tokens
    size = {"frames": 8, "frame_pixels": 224 * 224, "bytes_a_weight": 4, "text_tokens": text}
    made: list[Decoding] = []
    start = Decoding.__init__

    def keep(decoding: Decoding, *arguments: Any) -> None:
        made.append(decoding)
        start(decoding, *arguments)

    monkeypatch.setattr(Decoding, "__init__", keep)
    sample(any_policy, prompts, Sampling(completions=3, max_new_tokens=11, greedy=True))
    pairs = [*made[0].prompts.values(), *made[0].own.values()]
    held = sum(key.nbytes + value.nbytes for key, value in pairs)
    held += sum(state.conv.nbytes + state.matrix.nbytes for state in made[0].states.values())
    assert estimate(shape, SETTINGS, **size).sampling["keys and values"] == held


def kept_bytes(policy: Policy, group: Group) -> int:
    """Bytes that are kept of a pass for the backward one, weights apart."""
    prompts = with_features(policy, encode(policy, group))
    kept: dict[int, int] = {}

    def note(kept_of_it: Any) -> Any:
        for tensor in (kept_of_it,) if isinstance(kept_of_it, torch.Tensor) else ():
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return kept_of_it

    class Noting(saved_tensors_hooks):
        def __init__(self, pack: Callable[..., Any], unpack: Callable[..., Any]) -> None:
            super().__init__(lambda tensor: note(pack(tensor)), unpack)

    class Recipe(layers._Recipe):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.inputs = [note(each) for each in self.inputs]

    with mock.patch.multiple(layers, saved_tensors_hooks=Noting, _Recipe=Recipe):
        result = logprobs(policy, prompts, [[LONGEST] * 3] * len(prompts), 1.0)
    weights = {each.untyped_storage().data_ptr() for each in policy.model.parameters()}
    assert result.requires_grad
    return sum(size for place, size in kept.items() if place not in weights)


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_activations_are_near_what_autograd_keeps(any_policy: Policy, gradient_checkpointing: bool) -> None:
    """Within a third. With recomputation the estimate has one layer at work besides, which is not kept."""
    settings = with_policy(gradient_checkpointing=gradient_checkpointing)
    policy = load_policy(any_policy.name, settings.policy)
    group = make_group(times=TIMES, side=224)
    shape = read_shape(any_policy.name)
    text = len(encode(policy, group)[0].ids) - estimated(policy, shape).prompt_tokens
    size = {"frames": 8, "frame_pixels": 224 * 224, "bytes_a_weight": 4, "text_tokens": text}
    made = estimate(shape, settings, **size)
    deeper = estimate(replace(shape, layers=shape.layers + 1), settings, **size)
    inputs = (shape.layers + shape.linear.layers) * (
        deeper.update["activations"] - made.update["activations"]
    )
    at_work = made.update["activations"] - inputs if gradient_checkpointing else 0
    expected = made.update["activations"] - at_work + made.update["logits"]
    assert expected == pytest.approx(kept_bytes(policy, group), rel=1 / 3)


def estimate_of(shape: ModelShape, settings: TrainSettings, processes: int = 1) -> Estimate:
    return estimate(shape, settings, frames=8, frame_pixels=4096, bytes_a_weight=2, processes=processes)


def test_what_is_held_adds_up_and_is_spread_over_processes(any_policy: Policy) -> None:
    shape = read_shape(any_policy.name)
    settings = replace(SETTINGS, data=DataSettings(questions_per_step=4, variants=2))
    one, four = estimate_of(shape, settings), estimate_of(shape, settings, 4)
    assert one.update["optimizer"] == 12 * one.trainable_parameters == 4 * four.update["optimizer"]
    assert one.update["gradients"] == 6 * one.trainable_parameters
    assert four.sampling["weights"] == one.sampling["weights"] * 5 // 4
    assert one.update["weights"] == one.sampling["weights"]
    assert four.sampling["keys and values"] == one.sampling["keys and values"] // 4
    held = ("weights", "optimizer", "keys and values", "probabilities")
    assert one.sampling_bytes == sum(one.sampling[name] for name in held)
    assert one.peak_bytes == max(one.sampling_bytes, one.update_bytes)


def test_a_frozen_reference_is_one_more_copy_and_adapters_need_none(any_policy: Policy) -> None:
    shape = read_shape(any_policy.name)
    near = replace(SETTINGS, algorithm=AlgorithmSettings(kl_beta=0.1))
    made, plain = estimate_of(shape, near), estimate_of(shape, SETTINGS)
    assert made.update["reference"] == plain.sampling["weights"]
    assert made.peak_bytes == plain.peak_bytes + plain.sampling["weights"]
    assert plain.update["reference"] == 0
    assert estimate_of(shape, replace(near, policy=with_policy(lora_rank=2).policy)).update["reference"] == 0


def test_layers_put_together_at_a_time_are_counted(any_policy: Policy) -> None:
    """Two of the largest decoder layers and what is outside of layers and tower."""
    shape = read_shape(any_policy.name)
    body = any_policy.model.model.language_model
    sizes = [sum(each.numel() for each in layer.parameters()) for layer in body.layers]
    expected = 4 * (
        2 * max(sizes) + sum(each.numel() for each in (body.embed_tokens.weight, body.norm.weight))
    )
    made = estimate(shape, SETTINGS, frames=8, frame_pixels=4096, bytes_a_weight=4, processes=2)
    assert made.update["weights"] - 4 * shape.parameters // 2 == expected


# Billions of parameters, as the model cards count them (Qwen3.5 without the layer that predicts ahead).
PUBLISHED = {
    "Qwen/Qwen2.5-VL-3B-Instruct": 3.755,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8.292,
    "Qwen/Qwen2.5-VL-32B-Instruct": 33.453,
    "Qwen/Qwen2.5-VL-72B-Instruct": 73.411,
    "Qwen/Qwen3-VL-2B-Instruct": 2.128,
    "Qwen/Qwen3-VL-4B-Thinking": 4.438,
    "Qwen/Qwen3-VL-8B-Instruct": 8.767,
    "Qwen/Qwen3-VL-32B-Instruct": 33.357,
    "Qwen/Qwen3-VL-30B-A3B-Instruct": 31.071,
    "Qwen/Qwen3-VL-235B-A22B-Thinking": 235.671,
    "Qwen/Qwen3.5-0.8B": 0.853,
    "Qwen/Qwen3.5-2B": 2.213,
    "Qwen/Qwen3.5-4B-Base": 4.539,
    "Qwen/Qwen3.5-9B": 9.410,
    "Qwen/Qwen3.5-27B": 27.357,
    "Qwen/Qwen3.5-35B-A3B": 35.107,
    "Qwen/Qwen3.5-122B-A10B": 122.563,
    "Qwen/Qwen3.5-397B-A17B": 396.802,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_known_without_a_network(name: str) -> None:
    shape = read_shape(name)
    assert shape.parameters == pytest.approx(PUBLISHED[name] * 1e9, rel=1e-3)
    assert shape.layers + shape.linear.layers >= 24
    assert bool(shape.routed) == bool(re.search(r"-A\d+B", name))
    assert shape.linear.layers == (3 * shape.layers if "3.5" in name else 0)


def test_a_step_on_a_cpu_is_as_measured() -> None:
    """Qwen2.5-VL-3B's widths with 8 layers: a step of two prompts of 2,087 tokens with four short completions
    each took 6.4 GiB. The program and attention without a fused kernel are 1.9 of them."""
    config = packaged_config("Qwen/Qwen2.5-VL-3B")
    config.text_config.num_hidden_layers = 8
    config.text_config.layer_types = config.text_config.layer_types[:8]
    shape = model_shape(config, ARCHITECTURES["qwen2_5_vl"])
    policy = PolicySettings(device="cpu", dtype="bfloat16", lora_rank=64, gradient_checkpointing=True)
    settings = TrainSettings(
        data=DataSettings(questions_per_step=1, variants=2),
        policy=policy,
        rollout=RolloutSettings(completions=4, max_new_tokens=64),
    )
    size: dict[str, Any] = {"frames": 32, "frame_pixels": 128 * 784, "bytes_a_weight": 2, "text_tokens": 39}
    made, on_gpu = (estimate(shape, settings, **size, on_cpu=on_cpu) for on_cpu in (True, False))
    assert made.prompt_tokens == 2087
    assert made.peak_bytes / 2**30 == pytest.approx(6.4, rel=0.1)
    assert made.update_bytes - on_gpu.update_bytes == made.update["process"] + made.update["attention scores"]
    # Written from the weights themselves, beside what the adapters are merged into.
    assert made.saving_bytes == sum(
        made.sampling[name] for name in ("process", "weights", "optimizer", "merged adapters")
    )
    assert on_gpu.saving_bytes == on_gpu.sampling["weights"]
