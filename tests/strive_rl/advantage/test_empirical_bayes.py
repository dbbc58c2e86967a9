"""λ by hand and at its limits, the mixed baseline against the plain loop, and that it is worth having."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_rl.advantage.empirical_bayes import VariancePool, mixed, variance_pool
from strive_rl.schema import Rewards
from tests.strive_rl.advantage.test_leave_one_out import GRIDS, by_loop

# Row means 1, .5 and 0, .5: SS_B = 2·(.25² + .25²) = .25 and 2·(.25² + .25²) = .25; SS_W = .5 and .5.
GRIDS_QMG = [np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 1.0]])]


def test_pool_and_weight_by_hand() -> None:
    pool = variance_pool(GRIDS_QMG)
    assert astuple(pool) == (0.5, 1.0, 2, 4)
    # MSB = MSW = .25: the variants differ no more than chance has it.
    assert pool.weight(2) == 0
    # MSB = 1, MSW = .25, G = 4: σ_a² = .1875, λ = .1875/(.1875 + .25/3).
    assert VariancePool(between=2.0, within=1.0, df_between=2, df_within=4).weight(4) == pytest.approx(9 / 13)


@pytest.mark.parametrize(
    "grid",
    [np.ones((2, 4)), np.array([[1.0, 0.0, 1.0]]), np.array([[1.0], [0.0]]), np.zeros((1, 1))],
    ids=["all equal", "one variant", "one completion", "one response"],
)
def test_without_knowledge_it_is_leave_one_out_over_the_grid(grid: Rewards) -> None:
    assert variance_pool([grid]).weight(grid.shape[1]) == 0


def test_variants_that_decide_everything_are_compared_within() -> None:
    grid = np.array([[1.0, 1.0], [0.0, 0.0]])
    assert variance_pool([grid]).weight(2) == 1


def test_pools_of_parts_add_up() -> None:
    generator = np.random.default_rng(0)
    grids = [generator.random(shape) for shape in ((2, 4), (3, 4), (1, 4), (2, 4))]
    whole = astuple(variance_pool(grids))
    parts = np.sum([astuple(variance_pool(grids[:2])), astuple(variance_pool(grids[2:]))], axis=0)
    np.testing.assert_allclose(whole, parts)


@given(GRIDS, st.floats(0, 1))
def test_mixed_as_the_loop_has_it(rewards_MG: Rewards, weight: float) -> None:
    if rewards_MG.shape[1] == 1:
        weight = 0.0
    expected = weight * by_loop(rewards_MG, within_row=True) + (1 - weight) * by_loop(
        rewards_MG, within_row=False
    )
    np.testing.assert_allclose(mixed(rewards_MG, weight), expected, atol=1e-12)


def test_the_weight_finds_the_ratio_of_variances() -> None:
    """Rewards of known variance: a_m ~ N(0, 1) between variants, e ~ N(0, 2²) within, so λ = 1/(1 + 4/3)."""
    generator = np.random.default_rng(0)
    rewards = generator.normal(size=(4000, 2, 1)) + 2 * generator.normal(size=(4000, 2, 4))
    assert variance_pool(list(rewards)).weight(4) == pytest.approx(3 / 7, abs=0.03)


def test_the_mixed_baseline_has_the_least_error() -> None:
    """The baseline that λ mixes is nearer to a variant's true mean than either limit is."""
    generator = np.random.default_rng(1)
    truth_QM1 = 0.5 + 0.2 * generator.normal(size=(4000, 2, 1))
    rewards = truth_QM1 + 0.3 * generator.normal(size=(4000, 2, 4))
    weight = variance_pool(list(rewards)).weight(4)
    errors = {}
    for name, each in (("grid", 0.0), ("mixed", weight), ("row", 1.0)):
        baseline = rewards - np.array([mixed(grid, each) for grid in rewards])
        errors[name] = float(((baseline - truth_QM1) ** 2).mean())
    assert errors["mixed"] < min(errors["grid"], errors["row"])
