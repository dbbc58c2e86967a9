"""The reference is the model before its first step: a frozen copy, or the policy without its adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from strive_rl.config import AlgorithmSettings, PolicySettings
from strive_rl.policy import Policy, load_policy, logprobs
from strive_rl.schema import Group
from strive_rl.train.reference import adapters_off, load_reference, reference_logprobs
from tests.strive_rl.made_rollouts import TEMPERATURE, examples_of, rolled_out


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_it_stays_where_the_policy_began(
    tiny_folder: Path,
    answering: Callable[[Policy], Policy],
    make_group: Callable[..., Group],
    lora_rank: int,
) -> None:
    settings = PolicySettings(device="cpu", lora_rank=lora_rank)
    policy = answering(load_policy(str(tiny_folder), settings))
    reference = load_reference(str(tiny_folder), settings)
    assert (reference.model is None) == bool(lora_rank)
    example = examples_of(rolled_out(policy, make_group), AlgorithmSettings())[0]
    prompts, rows = example.prompts, example.completions
    before = logprobs(policy, prompts, rows, TEMPERATURE).detach()
    with torch.no_grad():
        for _, weight in policy.trainable():
            weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    moved = logprobs(policy, prompts, rows, TEMPERATURE).detach()
    ours = reference_logprobs(reference, policy, prompts, rows, TEMPERATURE)
    assert not ours.requires_grad
    torch.testing.assert_close(ours, before, atol=1e-6, rtol=0)
    assert float((moved - before).abs().max()) > 1e-3


def test_adapters_are_on_and_trained_again_afterwards(tiny_folder: Path) -> None:
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu", lora_rank=2))
    names = [name for name, _ in policy.trainable()]
    with adapters_off(policy.model):
        assert not policy.trainable()
    assert [name for name, _ in policy.trainable()] == names


def test_a_copy_is_not_trained(tiny_folder: Path) -> None:
    reference = load_reference(str(tiny_folder), PolicySettings(device="cpu", train_vision=True))
    assert reference.model is not None
    assert not any(weight.requires_grad for weight in reference.model.parameters())
