"""Low-rank adapters: what they start as, what they train, and what a merged checkpoint says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from strive_data.errors import SettingsError
from strive_rl.config import PolicySettings
from strive_rl.policy import (
    Policy,
    RngKey,
    Sampling,
    encode,
    load_policy,
    logprobs,
    sample,
    with_features,
)
from strive_rl.policy.logprobs import sampled_logprobs
from strive_rl.policy.lora import adapter_weights, load_adapters, merged_adapters, plain_weights
from strive_rl.schema import Completion, Group
from strive_rl.train import checkpoint
from tests.strive_rl.made.groups import make_group

RANK = 4
ANSWERS = [[Completion(ids=(65, 66, 67, 256), logprobs=(0.0,) * 4, text="", finished=True)]]


@pytest.fixture
def adapted(any_folder: Path) -> Policy:
    return load_policy(str(any_folder), PolicySettings(device="cpu", lora_rank=RANK))


def answer_logprobs(policy: Policy, group: Group) -> torch.Tensor:
    with torch.no_grad():
        return logprobs(policy, encode(policy, group), ANSWERS, 1.0)


def perturb(policy: Policy) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in policy.trainable():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


def test_adapters_start_as_the_identity_and_alone_are_trained(adapted: Policy, any_policy: Policy) -> None:
    names = [name for name, _ in adapted.trainable()]
    layers = adapted.model.model.language_model.layers
    linear = sum(hasattr(layer, "linear_attn") for layer in layers)
    # Four projections of attention or five of linear attention, three behind it, two matrices each.
    assert len(names) == (7 * len(layers) + linear) * 2
    assert all(".lora_" in name and "language_model" in name for name in names)
    torch.testing.assert_close(
        answer_logprobs(adapted, make_group()), answer_logprobs(any_policy, make_group()), atol=0, rtol=0
    )


def test_they_start_the_same_in_every_run(adapted: Policy, any_folder: Path) -> None:
    torch.manual_seed(123)
    again = load_policy(str(any_folder), adapted.settings)
    one, other = adapter_weights(adapted.model), adapter_weights(again.model)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_is_a_plain_folder_that_says_the_same(
    adapted: Policy, any_policy: Policy, tmp_path: Path
) -> None:
    perturb(adapted)
    expected = answer_logprobs(adapted, make_group())
    assert (expected - answer_logprobs(any_policy, make_group())).abs().max() > 0.1
    checkpoint.write(tmp_path / "model", adapted, checkpoint.snapshot(adapted))
    plain = load_policy(str(tmp_path / "model"), PolicySettings(device="cpu"))
    assert not adapter_weights(plain.model)
    torch.testing.assert_close(answer_logprobs(plain, make_group()), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(answer_logprobs(adapted, make_group()), expected, atol=0, rtol=0)


def test_sampling_merges_the_adapters_and_restores_every_bit(adapted: Policy) -> None:
    """Samples have the log-probabilities of the training pass, which adds the adapters' output."""
    perturb(adapted)
    before = {name: weight.clone() for name, weight in adapted.model.state_dict().items()}
    prompts = with_features(adapted, encode(adapted, make_group()))
    drawn = sample(adapted, prompts, Sampling(completions=4, max_new_tokens=8), [RngKey(seed=0)])
    with torch.no_grad():
        trained = logprobs(adapted, prompts, drawn, 1.0)
    torch.testing.assert_close(sampled_logprobs(drawn[0]), trained, rtol=0, atol=1e-4)
    assert all(torch.equal(before[name], weight) for name, weight in adapted.model.state_dict().items())
    with merged_adapters(adapted.model):
        weight = next(name for name in before if name.endswith(".base_layer.weight"))
        assert not torch.equal(adapted.model.state_dict()[weight], before[weight])


def test_adapters_go_on_from_their_own_weights(adapted: Policy, any_folder: Path) -> None:
    fresh = load_policy(str(any_folder), adapted.settings)
    perturb(adapted)
    load_adapters(fresh.model, adapter_weights(adapted.model))
    for (name, one), (_, other) in zip(adapted.trainable(), fresh.trainable(), strict=True):
        assert torch.equal(one, other), name
    with pytest.raises(KeyError, match="other adapters"):
        load_adapters(fresh.model, {})


def test_merging_by_hand() -> None:
    """W + scale·B·A in float32, rounded once; other tensors as they are, names as in a plain model."""
    base, down, up = torch.eye(2).bfloat16(), torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [0.001]])
    state = {
        "q.base_layer.weight": base,
        "q.base_layer.bias": torch.ones(2),
        "q.lora_A.default.weight": down.bfloat16(),
        "q.lora_B.default.weight": up.bfloat16(),
        "norm.weight": torch.full((2,), 7.0),
    }
    plain = dict(plain_weights(SimpleNamespace(state_dict=lambda keep_vars: state), 2.0))
    assert set(plain) == {"q.weight", "q.bias", "norm.weight"}
    expected = base.float() + 2 * up.bfloat16().float() @ down
    assert torch.equal(plain["q.weight"], expected.bfloat16())
    assert plain["norm.weight"].data_ptr() == state["norm.weight"].data_ptr()


def test_saving_on_a_cpu_copies_only_what_is_merged(adapted: Policy, any_policy: Policy) -> None:
    """Negative control: a snapshot that training may go on beside shares nothing with the policy."""
    perturb(adapted)
    own = {each.data_ptr() for each in adapted.model.parameters()}

    def copied(copy: bool) -> set[str]:
        weights = checkpoint.snapshot(adapted, copy=copy)
        return {name for name, weight in weights.items() if weight.data_ptr() not in own}

    everything = set(any_policy.model.state_dict())
    merged = {name.split(".lora_")[0] + ".weight" for name in adapter_weights(adapted.model)}
    assert copied(False) == merged < everything
    assert copied(True) == everything


def test_adapters_and_a_trained_tower_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="leave train_vision off"):
        PolicySettings(lora_rank=8, train_vision=True)
