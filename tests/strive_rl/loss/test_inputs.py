"""Shapes that would broadcast, and counts that cannot be, are refused."""

from __future__ import annotations

import pytest
import torch

from strive_rl.config import AlgorithmSettings
from strive_rl.loss.inputs import Objective
from tests.strive_rl.loss.made_batches import changed, made_batch


@pytest.mark.parametrize(
    "name",
    ["old_logprobs", "mask", "reference_logprobs", "rollout_logprobs"],
)
def test_shapes_that_would_broadcast_are_refused(name: str) -> None:
    batch = made_batch()
    with pytest.raises(ValueError, match=r"expected one shape \[B, L\]"):
        changed(batch, **{name: getattr(batch, name)[:, :1]})


def test_one_advantage_a_response() -> None:
    with pytest.raises(ValueError, match=r"advantages of shape \(1,\), expected \[6\]"):
        changed(made_batch(), advantages=torch.ones(1))


def test_an_objective_counts_something() -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        Objective(responses=0, tokens=3)


def test_the_settings_become_the_objective() -> None:
    settings = AlgorithmSettings(loss="dapo", kl_beta=0.04, kl_estimator="k2", importance_cap=2.0)
    aim = Objective.of(settings, responses=8, tokens=99)
    assert aim == Objective(
        responses=8,
        tokens=99,
        loss="dapo",
        clip_low=0.2,
        clip_high=0.28,
        kl_beta=0.04,
        kl_estimator="k2",
        importance_cap=2.0,
    )
