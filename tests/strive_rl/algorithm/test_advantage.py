"""Published algorithms at their settings against plain Python, tables by hand, laws on any rewards."""

from __future__ import annotations

import math
from dataclasses import astuple
from fractions import Fraction
from itertools import product
from random import Random
from statistics import fmean, pstdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strive_rl.algorithm.advantage import (
    GRID,
    ROW,
    Axes,
    VariancePool,
    advantages,
    batch_advantages,
    has_zero_advantage,
    minus_mean,
    minus_mixed,
    minus_others,
    variance_pool,
)
from strive_rl.config import AlgorithmSettings
from strive_rl.schema import Rewards

GRIDS = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=5),
    elements=st.integers(0, 20).map(lambda n: n / 20),
)


def by_loop(rewards_MG: Rewards, *, within_row: bool) -> Rewards:
    """R − mean of the others, one completion at a time; 0 where there are no others."""
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
    np.testing.assert_allclose(minus_others(rewards_MG, GRID), [[1, -1 / 3], [-1 / 3, -1 / 3]])
    assert minus_others(rewards_MG, ROW).tolist() == [[1, -1], [0, 0]]


@given(GRIDS)
def test_as_the_loop_has_it(rewards_MG: Rewards) -> None:
    np.testing.assert_allclose(
        minus_others(rewards_MG, GRID), by_loop(rewards_MG, within_row=False), atol=1e-12
    )
    np.testing.assert_allclose(
        minus_others(rewards_MG, ROW), by_loop(rewards_MG, within_row=True), atol=1e-12
    )


def test_one_completion_has_no_others() -> None:
    assert minus_others(np.array([[0.7]]), GRID).tolist() == [[0]]
    assert minus_others(np.array([[0.7], [0.2]]), ROW).tolist() == [[0], [0]]


def test_variances_by_hand() -> None:
    between = variance_pool([REWARDS_QMG[0]])
    assert (between.between, between.within, between.eta2) == (1, 0, 1)
    # Row means .5 and 0, grand mean .25: SS_B = 2·2·.0625, SS_W = 2·.25
    mixed = variance_pool([REWARDS_QMG[1]])
    assert (mixed.between, mixed.within) == (0.25, 0.5)
    assert mixed.eta2 == pytest.approx(1 / 3)
    assert math.isnan(variance_pool([np.full((2, 4), 0.1)]).eta2)
    with pytest.raises(ValueError, match="expected"):
        variance_pool([REWARDS_QMG])


@given(GRIDS)
def test_variances_add_up(rewards_MG: Rewards) -> None:
    pool = variance_pool([rewards_MG])
    total = ((rewards_MG - rewards_MG.mean()) ** 2).sum()
    assert pool.between + pool.within == pytest.approx(total, abs=1e-12)
    assert math.isnan(pool.eta2) or 0 <= pool.eta2 <= 1


def test_filter_is_on_accuracy() -> None:
    accuracy = np.ones((2, 4))
    shaped = 0.9 * accuracy + 0.1 * np.eye(2, 4)
    assert has_zero_advantage(accuracy)
    assert not has_zero_advantage(shaped)
    assert not has_zero_advantage(np.eye(2, 4))


@pytest.mark.parametrize(
    ("variants", "completions", "share"),
    [(1, 8, Fraction(2, 9)), (2, 4, Fraction(2, 25)), (4, 2, Fraction(2, 81))],
)
def test_share_of_equal_groups_under_a_uniform_success_rate(
    variants: int, completions: int, share: Fraction
) -> None:
    """p_m ~ Beta(1, 1) and all M·G rewards equal: .222, .080, .025, integrated exactly.

    A row with s right answers of G has the chance ∫p^s(1−p)^(G−s)dp = 1/((G + 1)·C(G, s)).
    """
    equal = Fraction(0)
    for cells in product((0, 1), repeat=variants * completions):
        accuracy_MG = np.array(cells).reshape(variants, completions)
        if has_zero_advantage(accuracy_MG):
            rows = [
                (completions + 1) * math.comb(completions, int(right)) for right in accuracy_MG.sum(axis=1)
            ]
            equal += Fraction(1, math.prod(rows))
    assert equal == share
    assert float(share) == pytest.approx({1: 0.222, 2: 0.080, 4: 0.025}[variants], abs=5e-4)


@pytest.mark.parametrize("rates", [(0.3, 0.3), (0.2, 0.4), (0.0, 0.6), (0.5, 0.5), (0.1, 0.9)])
def test_variants_help_by_the_variance_of_their_success_rates_alone(rates: tuple[float, float]) -> None:
    """(E p^G)^M + (E(1−p)^G)^M ≤ E p^{MG} + E(1−p)^{MG}, equal only for one rate; here 2×4 and 1×8."""
    rate = np.array(rates)
    apart = np.mean(rate**4) ** 2 + np.mean((1 - rate) ** 4) ** 2
    together = np.mean(rate**8) + np.mean((1 - rate) ** 8)
    assert apart == pytest.approx(together) if rates[0] == rates[1] else apart < together


# Two questions of 2 variants × 2 completions. Means: grid .5 and .25, rows (1, 0) and (.5, 0).
REWARDS_QMG = np.array([[[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]])


def test_over_the_grid_by_hand() -> None:
    assert minus_mean(REWARDS_QMG, GRID).tolist() == [
        [[0.5, 0.5], [-0.5, -0.5]],
        [[0.75, -0.25], [-0.25, -0.25]],
    ]


def test_over_a_row_by_hand() -> None:
    assert minus_mean(REWARDS_QMG, ROW).tolist() == [[[0, 0], [0, 0]], [[0.5, -0.5], [0, 0]]]


@pytest.mark.parametrize("over", [GRID, ROW])
def test_equal_rewards_are_exactly_zero_though_their_mean_is_off(over: Axes) -> None:
    rewards = np.full((1, 6), 0.1)
    assert (rewards - rewards.mean()).any()
    assert not minus_mean(rewards, over).any()


# Row means 1, .5 and 0, .5: SS_B = 2·(.25² + .25²) = .25 and 2·(.25² + .25²) = .25; SS_W = .5 and .5.
TWO_GRIDS = [np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 1.0]])]


def test_pool_and_weight_by_hand() -> None:
    pool = variance_pool(TWO_GRIDS)
    assert astuple(pool) == (0.5, 1.0, 2, 4)
    # MSB = MSW = .25: the variants differ no more than chance has it.
    assert pool.weight(2) == 0
    # MSB = 1, MSW = .25, G = 4: σ_a² = .1875, λ = .1875/(.1875 + .25/3).
    assert VariancePool(between=2.0, within=1.0, df_between=2, df_within=4).weight(4) == pytest.approx(9 / 13)


@pytest.mark.parametrize(
    "grid",
    [np.ones((2, 4)), np.array([[1.0, 0.0, 1.0]]), np.array([[1.0], [0.0]]), np.zeros((1, 1))],
    ids=["all equal", "one variant", "one completion", "one completion of one variant"],
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
    np.testing.assert_allclose(minus_mixed(rewards_MG, weight), expected, atol=1e-12)


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
        baseline = rewards - np.array([minus_mixed(grid, each) for grid in rewards])
        errors[name] = float(((baseline - truth_QM1) ** 2).mean())
    assert errors["mixed"] < min(errors["grid"], errors["row"])


SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8)
FINE_GRIDS = hnp.arrays(np.float64, SHAPES, elements=st.integers(0, 20).map(lambda n: n / 20))
# Every kind of advantage; λ is given where it counts.
SETTINGS = st.builds(
    AlgorithmSettings,
    normalise=st.sampled_from(["joint", "per_variant", "both"]),
    baseline=st.sampled_from(["mean", "leave_one_out"]),
    divide_by_std=st.booleans(),
) | st.builds(AlgorithmSettings, baseline=st.just("empirical_bayes"), divide_by_std=st.booleans())

STRIVE = GRPO = AlgorithmSettings()
PER_VARIANT = AlgorithmSettings(normalise="per_variant")
SHARE_GRPO = AlgorithmSettings(normalise="both")
DR_GRPO = AlgorithmSettings(loss="dr_grpo")
RLOO = AlgorithmSettings(baseline="leave_one_out")
EMPIRICAL_BAYES = AlgorithmSettings(baseline="empirical_bayes")


def standardised(rewards: list[float]) -> list[float]:
    """The published formula of GRPO: (r − mean)/(std + 1e-4), population std."""
    return [(reward - fmean(rewards)) / (pstdev(rewards) + 1e-4) for reward in rewards]


def test_2_by_2_by_2_by_hand() -> None:
    half, three = 0.5 / 0.5001, math.sqrt(3) / 4 + 1e-4
    joint = [[[half, half], [-half, -half]], [[0.75 / three, -0.25 / three], [-0.25 / three] * 2]]
    rows = [[[0, 0], [0, 0]], [[half, -half], [0, 0]]]
    np.testing.assert_allclose(advantages(REWARDS_QMG, STRIVE), joint, rtol=1e-14)
    np.testing.assert_allclose(advantages(REWARDS_QMG, PER_VARIANT), rows, rtol=1e-14)
    np.testing.assert_allclose(advantages(REWARDS_QMG, SHARE_GRPO), np.add(joint, rows), rtol=1e-14)
    assert advantages(REWARDS_QMG[1], DR_GRPO).tolist() == [[0.75, -0.25], [-0.25, -0.25]]
    np.testing.assert_allclose(advantages(REWARDS_QMG[1], RLOO), [[1, -1 / 3], [-1 / 3, -1 / 3]])
    # λ = ¼ of the rows' (1, −1), (0, 0) and ¾ of the grid's.
    mixed = advantages(REWARDS_QMG[1], EMPIRICAL_BAYES, weight=0.25)
    np.testing.assert_allclose(mixed, [[1, -0.5], [-0.25, -0.25]])


@given(FINE_GRIDS)
def test_published_algorithms_at_their_settings(rewards_MG: Rewards) -> None:
    rows, everything = rewards_MG.tolist(), rewards_MG.ravel().tolist()
    joint = np.reshape(standardised(everything), rewards_MG.shape)
    by_row = np.array([standardised(row) for row in rows])
    one_group = rewards_MG.reshape(1, -1)
    assert_near(advantages(one_group, GRPO).ravel(), standardised(everything))
    assert_near(advantages(rewards_MG, STRIVE), joint)
    assert_near(advantages(rewards_MG, PER_VARIANT), by_row)
    assert_near(advantages(rewards_MG, SHARE_GRPO), joint + by_row)
    assert_near(advantages(one_group, DR_GRPO), one_group - fmean(everything))
    assert_near(advantages(one_group, RLOO), by_loop(one_group, within_row=True))


def assert_near(ours: Rewards, theirs: object) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_an_all_but_one_group_of_four() -> None:
    ours = advantages([[1.0, 0.0, 0.0, 0.0]], GRPO)
    np.testing.assert_allclose(ours, [[math.sqrt(3), *[-1 / math.sqrt(3)] * 3]], rtol=1e-3)


def test_only_published_algorithms_without_the_std_leave_it_out() -> None:
    names = {"grpo": True, "dapo": True, "gspo": True, "dr_grpo": False}
    assert {name: AlgorithmSettings(loss=name).by_std for name in names} == names
    assert not RLOO.by_std
    assert not EMPIRICAL_BAYES.by_std
    assert AlgorithmSettings(loss="dr_grpo", divide_by_std=True).by_std


@given(FINE_GRIDS)
def test_empirical_bayes_at_its_limits(rewards_MG: Rewards) -> None:
    per_variant = AlgorithmSettings(baseline="leave_one_out", normalise="per_variant")
    assert_near(advantages(rewards_MG, EMPIRICAL_BAYES, weight=0.0), advantages(rewards_MG, RLOO))
    assert_near(advantages(rewards_MG, EMPIRICAL_BAYES, weight=1.0), advantages(rewards_MG, per_variant))


@given(st.floats(0, 1), SHAPES, SETTINGS, st.floats(0, 1))
def test_equal_rewards_give_exactly_zero(
    reward: float, shape: tuple[int, int], settings: AlgorithmSettings, weight: float
) -> None:
    assert not advantages(np.full(shape, reward), settings, weight=weight).any()


@given(FINE_GRIDS, SETTINGS)
def test_advantages_sum_to_zero_and_keep_the_order(rewards_MG: Rewards, settings: AlgorithmSettings) -> None:
    ours = advantages(rewards_MG, settings, weight=0.4 if rewards_MG.shape[1] > 1 else 0.0)
    assert ours.shape == rewards_MG.shape
    assert ours.sum() == pytest.approx(0, abs=1e-9)
    for rewards_G, ours_G in zip(rewards_MG, ours, strict=True):
        assert (np.diff(ours_G[np.argsort(rewards_G, kind="stable")]) >= -1e-12).all()


@given(FINE_GRIDS, SETTINGS, st.floats(-5, 5), st.randoms(use_true_random=False))
def test_shift_and_permutation(
    rewards_MG: Rewards, settings: AlgorithmSettings, shift: float, random: Random
) -> None:
    ours = advantages(rewards_MG, settings, weight=0.4)
    np.testing.assert_allclose(advantages(rewards_MG + shift, settings, weight=0.4), ours, atol=1e-9)
    rows = random.sample(range(rewards_MG.shape[0]), rewards_MG.shape[0])
    columns = random.sample(range(rewards_MG.shape[1]), rewards_MG.shape[1])
    moved = advantages(rewards_MG[rows][:, columns], settings, weight=0.4)
    np.testing.assert_allclose(moved, ours[rows][:, columns], atol=1e-9)


@given(FINE_GRIDS, SETTINGS, st.floats(0.5, 20))
def test_scale(rewards_MG: Rewards, settings: AlgorithmSettings, scale: float) -> None:
    ours, scaled = (advantages(r, settings, weight=0.4) for r in (rewards_MG, scale * rewards_MG))
    if not settings.by_std:
        np.testing.assert_allclose(scaled, scale * ours, atol=1e-9)
    elif settings.normalise != "both":
        # Only the 1e-4 in the denominator tells the scales apart; the least std here is .0062. Not for
        # `both`, whose two parts may nearly cancel: then no relative bound holds.
        np.testing.assert_allclose(scaled, ours, rtol=0.03, atol=1e-9)


def test_a_batch_shares_one_weight_and_its_parts_can_share_it() -> None:
    generator = np.random.default_rng(0)
    grids = [generator.normal(size=(2, 1)) + generator.random((2, 4)) for _ in range(6)]
    pool = variance_pool(grids)
    weight = pool.weight(4)
    assert 0 < weight < 1
    whole = batch_advantages(grids, EMPIRICAL_BAYES)
    np.testing.assert_allclose(whole, [advantages(g, EMPIRICAL_BAYES, weight=weight) for g in grids])
    part = batch_advantages(grids[:2], EMPIRICAL_BAYES, pool)
    np.testing.assert_array_equal(part, whole[:2])
    assert not np.allclose(batch_advantages(grids[:2], EMPIRICAL_BAYES, VariancePool()), whole[:2])


def test_one_reward_without_a_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        advantages([1.0, 0.0], STRIVE)
