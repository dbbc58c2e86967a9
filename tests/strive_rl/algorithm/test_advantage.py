"""Published algorithms at their settings against plain Python, tables by hand, laws on any rewards."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from random import Random
from statistics import fmean, pstdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strive_rl.algorithm.advantage import advantages, differs, eta2, has_zero_advantage
from strive_rl.config import AlgorithmSettings
from strive_rl.schema import Rewards

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8)
GRIDS = hnp.arrays(np.float64, SHAPES, elements=st.integers(0, 20).map(lambda n: n / 20))
SETTINGS = st.builds(
    AlgorithmSettings, normalise=st.sampled_from(["joint", "per_variant"]), divide_by_std=st.booleans()
)
STRIVE = GRPO = AlgorithmSettings()
PER_VARIANT = AlgorithmSettings(normalise="per_variant")
DR_GRPO = AlgorithmSettings(loss="dr_grpo")

# Two questions of 2 variants × 2 completions. Means: grid .5 and .25, rows (1, 0) and (.5, 0).
REWARDS_QMG = np.array([[[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]])


def test_2_by_2_by_2_by_hand() -> None:
    half, three = 0.5 / 0.5001, math.sqrt(3) / 4 + 1e-4
    joint = [[[half, half], [-half, -half]], [[0.75 / three, -0.25 / three], [-0.25 / three] * 2]]
    rows = [[[0, 0], [0, 0]], [[half, -half], [0, 0]]]
    np.testing.assert_allclose(advantages(REWARDS_QMG, STRIVE), joint, rtol=1e-14)
    np.testing.assert_allclose(advantages(REWARDS_QMG, PER_VARIANT), rows, rtol=1e-14)
    assert advantages(REWARDS_QMG[1], DR_GRPO).tolist() == [[0.75, -0.25], [-0.25, -0.25]]


def standardised(rewards: list[float]) -> list[float]:
    """The published formula of GRPO: (r − mean)/(std + 1e-4), population std."""
    return [(reward - fmean(rewards)) / (pstdev(rewards) + 1e-4) for reward in rewards]


@given(GRIDS)
def test_published_algorithms_at_their_settings(rewards_MG: Rewards) -> None:
    rows, everything = rewards_MG.tolist(), rewards_MG.ravel().tolist()
    joint = np.reshape(standardised(everything), rewards_MG.shape)
    one_group = rewards_MG.reshape(1, -1)
    assert_near(advantages(one_group, GRPO).ravel(), standardised(everything))
    assert_near(advantages(rewards_MG, STRIVE), joint)
    assert_near(advantages(rewards_MG, PER_VARIANT), np.array([standardised(row) for row in rows]))
    assert_near(advantages(one_group, DR_GRPO), one_group - fmean(everything))


def assert_near(ours: Rewards, theirs: object) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


def test_an_all_but_one_group_of_four() -> None:
    ours = advantages([[1.0, 0.0, 0.0, 0.0]], GRPO)
    np.testing.assert_allclose(ours, [[math.sqrt(3), *[-1 / math.sqrt(3)] * 3]], rtol=1e-3)


def test_only_published_algorithms_without_the_std_leave_it_out() -> None:
    names = {"grpo": True, "dapo": True, "gspo": True, "dr_grpo": False}
    assert {name: AlgorithmSettings(loss=name).by_std for name in names} == names
    assert AlgorithmSettings(loss="dr_grpo", divide_by_std=True).by_std


@pytest.mark.parametrize("settings", [STRIVE, PER_VARIANT])
def test_equal_rewards_are_exactly_zero_though_their_mean_is_off(settings: AlgorithmSettings) -> None:
    rewards = np.full((1, 6), 0.1)
    assert (rewards - rewards.mean()).any()
    assert not advantages(rewards, settings).any()


@given(st.floats(0, 1), SHAPES, SETTINGS)
def test_equal_rewards_give_exactly_zero(
    reward: float, shape: tuple[int, int], settings: AlgorithmSettings
) -> None:
    assert not advantages(np.full(shape, reward), settings).any()


@given(GRIDS, SETTINGS)
def test_advantages_sum_to_zero_and_keep_the_order(rewards_MG: Rewards, settings: AlgorithmSettings) -> None:
    ours = advantages(rewards_MG, settings)
    assert ours.shape == rewards_MG.shape
    assert ours.sum() == pytest.approx(0, abs=1e-9)
    for rewards_G, ours_G in zip(rewards_MG, ours, strict=True):
        assert (np.diff(ours_G[np.argsort(rewards_G, kind="stable")]) >= -1e-12).all()


@given(GRIDS, SETTINGS, st.floats(-5, 5), st.randoms(use_true_random=False))
def test_shift_and_permutation(
    rewards_MG: Rewards, settings: AlgorithmSettings, shift: float, random: Random
) -> None:
    ours = advantages(rewards_MG, settings)
    np.testing.assert_allclose(advantages(rewards_MG + shift, settings), ours, atol=1e-9)
    rows = random.sample(range(rewards_MG.shape[0]), rewards_MG.shape[0])
    columns = random.sample(range(rewards_MG.shape[1]), rewards_MG.shape[1])
    moved = advantages(rewards_MG[rows][:, columns], settings)
    np.testing.assert_allclose(moved, ours[rows][:, columns], atol=1e-9)


@given(GRIDS, SETTINGS, st.floats(0.5, 20))
def test_scale(rewards_MG: Rewards, settings: AlgorithmSettings, scale: float) -> None:
    ours, scaled = (advantages(r, settings) for r in (rewards_MG, scale * rewards_MG))
    if settings.by_std:
        # Only the 1e-4 in the denominator tells the scales apart; the least std here is .0062.
        np.testing.assert_allclose(scaled, ours, rtol=0.03, atol=1e-9)
    else:
        np.testing.assert_allclose(scaled, scale * ours, atol=1e-9)


def test_one_reward_without_a_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        advantages([1.0, 0.0], STRIVE)


def test_the_share_between_variants_by_hand() -> None:
    assert eta2(REWARDS_QMG[0]) == 1
    # Row means .5 and 0, grand mean .25: SS_B = 2·2·.0625 = .25, SS_W = 2·.25 = .5
    assert eta2(REWARDS_QMG[1]) == pytest.approx(1 / 3)
    assert eta2([[1.0, 0.0], [0.0, 1.0]]) == 0
    assert math.isnan(eta2(np.full((2, 4), 0.1)))
    with pytest.raises(ValueError, match="expected"):
        eta2(REWARDS_QMG)


@given(GRIDS)
def test_between_and_within_are_all_of_the_variance(rewards_MG: Rewards) -> None:
    total = ((rewards_MG - rewards_MG.mean()) ** 2).sum()
    within = ((rewards_MG - rewards_MG.mean(axis=1, keepdims=True)) ** 2).sum()
    share = eta2(rewards_MG)
    assert math.isnan(share) if np.ptp(rewards_MG) == 0 else share == pytest.approx(1 - within / total)


def test_filter_is_on_accuracy() -> None:
    accuracy = np.ones((2, 4))
    shaped = 0.9 * accuracy + 0.1 * np.eye(2, 4)
    assert has_zero_advantage(accuracy)
    assert not has_zero_advantage(shaped)
    assert not has_zero_advantage(np.eye(2, 4))


def test_what_is_learned_is_compared_with_another_accuracy() -> None:
    accuracy = [[1.0, 1.0], [1.0, 0.0]]
    assert differs(accuracy, "joint").tolist() == [[True, True], [True, True]]
    assert differs(accuracy, "per_variant").tolist() == [[False, False], [True, True]]


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
