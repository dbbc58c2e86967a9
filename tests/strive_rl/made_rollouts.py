"""Rollouts of the tiny model, for the tests of what is learned from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from strive_rl.algorithm.advantage import batch_advantages
from strive_rl.config import AlgorithmSettings
from strive_rl.policy import Policy, Sampling
from strive_rl.rollout.builtin import Encoded, encode_groups, reward_grid, roll_out
from strive_rl.schema import Group, Rollout, SampleRef
from strive_rl.train.examples import TrainExample, make_examples

TWO_VIEWS = ((0.5, 1.0, 4.0, 9.5), (0.0, 2.0, 3.0, 5.0))
TEMPERATURE = 4.0

Rolled = tuple[list[Rollout], Encoded]


def rolled_out(policy: Policy, make_group: Callable[..., Group], questions: int = 4) -> Rolled:
    """Two variants and four responses of each question, with a uniform view of other frames beside them."""
    groups = [
        replace(
            make_group(f"q{i}", TWO_VIEWS, seed=i),
            clean=make_group(seed=100 + i).views[0],
            pick=SampleRef(position=i, epoch=0),
        )
        for i in range(questions)
    ]
    encoded = encode_groups(policy, groups)
    sampling = Sampling(completions=4, max_new_tokens=5, temperature=TEMPERATURE)
    return roll_out(policy, encoded, sampling, seed=1), encoded


def taught_by(rolled: Rolled, settings: AlgorithmSettings) -> list[TrainExample]:
    rollouts, encoded = rolled
    grids = batch_advantages([reward_grid(rollout) for rollout in rollouts], settings)
    return make_examples(rollouts, encoded, grids, settings.logprob_condition)
