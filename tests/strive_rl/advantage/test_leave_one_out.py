"""Leave-one-out baselines against the plain double loop."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strive_rl.advantage.group_mean import GRID, ROW
from strive_rl.advantage.leave_one_out import left_out
from strive_rl.schema import Rewards

GRIDS = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=5),
    elements=st.integers(0, 20).map(lambda n: n / 20),
)


def by_loop(rewards_MG: Rewards, *, within_row: bool) -> Rewards:
    """R − mean of the others, one response at a time; 0 where there are no others."""
    result = np.zeros_like(rewards_MG)
    for m, g in np.ndindex(*rewards_MG.shape):
        others = [
            rewards_MG[i, j]
            for i, j in np.ndindex(*rewards_MG.shape)
            if (i, j) != (m, g) and (i == m or not within_row)
        ]
        result[m, g] = rewards_MG[m, g] - np.mean(others) if others else 0.0
    return result


def test_by_hand() -> None:
    rewards_MG = np.array([[1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(left_out(rewards_MG, GRID), [[1, -1 / 3], [-1 / 3, -1 / 3]])
    assert left_out(rewards_MG, ROW).tolist() == [[1, -1], [0, 0]]


@given(GRIDS)
def test_as_the_loop_has_it(rewards_MG: Rewards) -> None:
    np.testing.assert_allclose(left_out(rewards_MG, GRID), by_loop(rewards_MG, within_row=False), atol=1e-12)
    np.testing.assert_allclose(left_out(rewards_MG, ROW), by_loop(rewards_MG, within_row=True), atol=1e-12)


def test_one_response_has_no_others() -> None:
    assert left_out(np.array([[0.7]]), GRID).tolist() == [[0]]
    assert left_out(np.array([[0.7], [0.2]]), ROW).tolist() == [[0], [0]]
