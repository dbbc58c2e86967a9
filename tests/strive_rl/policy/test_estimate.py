"""Estimates against what is really made: weights, prompts, caches, optimizer state, kept tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen3VLConfig

from strive_rl.config import DataSettings, OptimSettings, PolicySettings, RolloutSettings, TrainSettings
from strive_rl.optimizer import Optimizer
from strive_rl.policy import Policy, encode, load_policy, logprobs, with_features
from strive_rl.policy.estimate import Estimate, ModelShape, estimate, model_shape
from strive_rl.policy.load import ARCHITECTURES, read_shape
from strive_rl.schema import Completion, Group

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
    assert estimated(any_policy, shape).weight_bytes == 4 * parameters


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
    assert made.optimizer_bytes == held
    assert made.gradient_bytes == held // 2


@pytest.mark.parametrize(("frame_pairs", "patches"), [("consecutive", 4), ("doubled", 8)])
def test_video_tokens_are_those_of_a_prompt(
    any_policy: Policy, make_group: Callable[..., Group], frame_pairs: Any, patches: int
) -> None:
    policy = replace(any_policy, settings=replace(any_policy.settings, frame_pairs=frame_pairs))
    (prompt,) = encode(policy, make_group(times=TIMES[:1], side=224))
    shape = read_shape(any_policy.name)
    made = estimated(policy, shape, with_policy(frame_pairs=frame_pairs))
    assert made.video_tokens == prompt.is_video.sum()
    assert made.prompt_tokens == made.video_tokens + patches * shape.patch_text_tokens


def test_a_cache_of_keys_and_values(any_policy: Policy, make_group: Callable[..., Group]) -> None:
    shape = read_shape(any_policy.name)
    made = estimated(any_policy, shape)
    cache = any_policy.new_cache()
    inputs = {"inputs_embeds": any_policy.embed(torch.ones(2, made.row_tokens, dtype=torch.long))}
    with torch.no_grad():
        any_policy.read(inputs, torch.ones(3, 2, made.row_tokens, dtype=torch.long), cache=cache)
    assert made.cache_bytes == sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)


def kept_bytes(policy: Policy, group: Group) -> int:
    """Bytes that autograd keeps of a pass, weights apart."""
    prompts = with_features(policy, encode(policy, group))
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = logprobs(policy, prompts, [[LONGEST] * 3] * len(prompts), 1.0)
    weights = {each.untyped_storage().data_ptr() for each in policy.model.parameters()}
    assert result.requires_grad
    return sum(size for place, size in kept.items() if place not in weights)


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_activations_are_near_what_autograd_keeps(
    any_policy: Policy, make_group: Callable[..., Group], gradient_checkpointing: bool
) -> None:
    """Within a third. With recomputation the estimate has one layer at work besides, which is not kept."""
    settings = with_policy(gradient_checkpointing=gradient_checkpointing)
    policy = load_policy(any_policy.name, settings.policy)
    group = make_group(times=TIMES, side=224)
    shape = read_shape(any_policy.name)
    text = len(encode(policy, group)[0].ids) - estimated(policy, shape).prompt_tokens
    size = {"frames": 8, "frame_pixels": 224 * 224, "bytes_a_weight": 4, "text_tokens": text}
    made, whole = estimate(shape, settings, **size), estimate(shape, SETTINGS, **size)
    at_work = whole.activation_bytes // shape.layers if gradient_checkpointing else 0
    expected = made.activation_bytes - at_work + made.mask_bytes + made.logit_bytes
    assert expected == pytest.approx(kept_bytes(policy, group), rel=1 / 3)


def test_what_is_held_adds_up_and_is_spread_over_processes(any_policy: Policy) -> None:
    shape = read_shape(any_policy.name)
    one = estimate(shape, SETTINGS, frames=8, frame_pixels=4096, bytes_a_weight=2)
    four = estimate(shape, SETTINGS, frames=8, frame_pixels=4096, bytes_a_weight=2, processes=4)
    assert one.optimizer_bytes == 12 * one.trainable_parameters == 4 * four.optimizer_bytes
    assert one.gradient_bytes == 6 * one.trainable_parameters
    assert four.weight_bytes == one.weight_bytes
    assert one.sampling_bytes == one.weight_bytes + one.optimizer_bytes + one.cache_bytes
    assert one.peak_bytes == max(one.sampling_bytes, one.update_bytes)


def test_published_sizes() -> None:
    """Qwen2.5-VL-7B has 8.29 and Qwen3-VL-8B 8.77 billion parameters with their towers."""
    text = {
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    }
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584}
    older = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)
    assert model_shape(older, ARCHITECTURES["qwen2_5_vl"]).parameters == pytest.approx(8.292e9, rel=1e-3)
    text = {
        "hidden_size": 4096,
        "num_hidden_layers": 36,
        "intermediate_size": 12288,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
    }
    newer = Qwen3VLConfig(
        text_config=text, vision_config={"out_hidden_size": 4096}, tie_word_embeddings=False
    )
    assert model_shape(newer, ARCHITECTURES["qwen3_vl"]).parameters == pytest.approx(8.767e9, rel=1e-3)
