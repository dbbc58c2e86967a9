"""The mean of a set, by hand, and the guard that keeps equal rewards at exactly 0."""

from __future__ import annotations

import numpy as np
import pytest

from strive_rl.advantage.group_mean import GRID, ROW, Axes, centred

# Two questions of 2 variants × 2 completions. Means: grid .5 and .25, rows (1, 0) and (.5, 0).
REWARDS_QMG = np.array([[[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]])


def test_over_the_grid_by_hand() -> None:
    assert centred(REWARDS_QMG, GRID).tolist() == [
        [[0.5, 0.5], [-0.5, -0.5]],
        [[0.75, -0.25], [-0.25, -0.25]],
    ]


def test_over_a_row_by_hand() -> None:
    assert centred(REWARDS_QMG, ROW).tolist() == [[[0, 0], [0, 0]], [[0.5, -0.5], [0, 0]]]


@pytest.mark.parametrize("over", [GRID, ROW])
def test_equal_rewards_are_exactly_zero_though_their_mean_is_off(over: Axes) -> None:
    rewards = np.full((1, 6), 0.1)
    assert (rewards - rewards.mean()).any()
    assert not centred(rewards, over).any()
