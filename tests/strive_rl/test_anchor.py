"""What an update holds fixed, and what that costs in forward passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from strive_rl.anchor import anchors
from strive_rl.config import AlgorithmSettings, PolicySettings
from strive_rl.policy import Policy, load_policy, logprobs
from strive_rl.policy.logprobs import mask
from strive_rl.reference import Reference, load_reference
from strive_rl.schema import Group
from tests.strive_rl.made_rollouts import TEMPERATURE, Rolled, rolled_out, taught_by


@pytest.fixture(scope="module")
def policy(tiny_folder: Path, answering: Callable[[Policy], Policy]) -> Policy:
    settings = PolicySettings(device="cpu", groups_per_pass=2)
    return answering(load_policy(str(tiny_folder), settings))


@pytest.fixture(scope="module")
def reference(tiny_folder: Path) -> Reference:
    return load_reference(str(tiny_folder), PolicySettings(device="cpu"))


@pytest.fixture(scope="module")
def rolled(policy: Policy, make_group: Callable[..., Group]) -> Rolled:
    return rolled_out(policy, make_group)


def forwards(model: Any, act: Callable[[], object]) -> int:
    """Forward passes of the language model while `act` runs."""
    count = []
    hook = model.model.language_model.register_forward_hook(lambda *_: count.append(1))
    act()
    hook.remove()
    return len(count)


@pytest.mark.parametrize(
    ("changes", "old", "kl"),
    [
        ({}, 0, 0),
        ({"old_logprobs": "rollout", "minibatches": 2}, 0, 0),
        ({"minibatches": 2}, 1, 0),
        ({"epochs_per_rollout": 3}, 1, 0),
        ({"kl_beta": 0.1}, 0, 1),
        ({"kl_beta": 0.1, "epochs_per_rollout": 2}, 1, 1),
    ],
)
def test_nothing_is_computed_that_the_loss_does_not_ask_for(
    policy: Policy, reference: Reference, rolled: Rolled, changes: dict[str, Any], old: int, kl: int
) -> None:
    settings = AlgorithmSettings(**changes)
    taught = taught_by(rolled, settings)
    passes = -(-len(taught) // 2)

    def made() -> None:
        fixed = anchors(policy, taught, settings, reference, TEMPERATURE)
        assert all((each.old is not None, each.reference is not None) == (old, kl) for each in fixed)

    assert forwards(policy.model, made) == old * passes
    assert forwards(reference.model, made) == kl * passes


def test_each_lesson_gets_its_own_tokens(policy: Policy, reference: Reference, rolled: Rolled) -> None:
    settings = AlgorithmSettings(kl_beta=0.1, minibatches=2)
    taught = taught_by(rolled, settings)
    fixed = anchors(policy, taught, settings, reference, TEMPERATURE)
    for lesson, anchor in zip(taught, fixed, strict=True):
        alone = logprobs(policy, lesson.prompts, lesson.responses, TEMPERATURE).detach()
        expected = alone[mask([response for row in lesson.responses for response in row])]
        assert anchor.old is not None
        assert len(anchor.old) == lesson.tokens
        torch.testing.assert_close(anchor.old, expected, atol=1e-5, rtol=0)
        # The reference is the same model here, as nothing was learned yet.
        assert anchor.reference is not None
        torch.testing.assert_close(anchor.reference, expected, atol=1e-5, rtol=0)


def test_a_divergence_needs_a_reference(policy: Policy, rolled: Rolled) -> None:
    settings = AlgorithmSettings(kl_beta=0.1)
    with pytest.raises(ValueError, match="without a reference"):
        anchors(policy, taught_by(rolled, settings), settings, None, TEMPERATURE)


def test_passes_of_any_size_give_the_same(policy: Policy, rolled: Rolled) -> None:
    settings = AlgorithmSettings(minibatches=2)
    taught = taught_by(rolled, settings)
    one = replace(policy, settings=replace(policy.settings, groups_per_pass=1))
    for mine, theirs in zip(
        anchors(policy, taught, settings, None, TEMPERATURE),
        anchors(one, taught, settings, None, TEMPERATURE),
        strict=True,
    ):
        assert mine.old is not None
        assert theirs.old is not None
        torch.testing.assert_close(mine.old, theirs.old, atol=1e-5, rtol=0)
