"""Published algorithms at their settings against plain Python, tables by hand, laws on any rewards."""

from __future__ import annotations

import math
from random import Random
from statistics import fmean, pstdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strive_rl.advantage.advantages import advantages, batch_advantages
from strive_rl.advantage.empirical_bayes import VariancePool, variance_pool
from strive_rl.config import AlgorithmSettings
from strive_rl.schema import Rewards
from tests.strive_rl.advantage.test_group_mean import REWARDS_QMG
from tests.strive_rl.advantage.test_leave_one_out import by_loop

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8)
GRIDS = hnp.arrays(np.float64, SHAPES, elements=st.integers(0, 20).map(lambda n: n / 20))
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


@given(GRIDS)
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


@given(GRIDS)
def test_empirical_bayes_at_its_limits(rewards_MG: Rewards) -> None:
    per_variant = AlgorithmSettings(baseline="leave_one_out", normalise="per_variant")
    assert_near(advantages(rewards_MG, EMPIRICAL_BAYES, weight=0.0), advantages(rewards_MG, RLOO))
    assert_near(advantages(rewards_MG, EMPIRICAL_BAYES, weight=1.0), advantages(rewards_MG, per_variant))


@given(st.floats(0, 1), SHAPES, SETTINGS, st.floats(0, 1))
def test_equal_rewards_give_exactly_zero(
    reward: float, shape: tuple[int, int], settings: AlgorithmSettings, weight: float
) -> None:
    assert not advantages(np.full(shape, reward), settings, weight=weight).any()


@given(GRIDS, SETTINGS)
def test_advantages_sum_to_zero_and_keep_the_order(rewards_MG: Rewards, settings: AlgorithmSettings) -> None:
    ours = advantages(rewards_MG, settings, weight=0.4 if rewards_MG.shape[1] > 1 else 0.0)
    assert ours.shape == rewards_MG.shape
    assert ours.sum() == pytest.approx(0, abs=1e-9)
    for rewards_G, ours_G in zip(rewards_MG, ours, strict=True):
        assert (np.diff(ours_G[np.argsort(rewards_G, kind="stable")]) >= -1e-12).all()


@given(GRIDS, SETTINGS, st.floats(-5, 5), st.randoms(use_true_random=False))
def test_shift_and_permutation(
    rewards_MG: Rewards, settings: AlgorithmSettings, shift: float, random: Random
) -> None:
    ours = advantages(rewards_MG, settings, weight=0.4)
    np.testing.assert_allclose(advantages(rewards_MG + shift, settings, weight=0.4), ours, atol=1e-9)
    rows = random.sample(range(rewards_MG.shape[0]), rewards_MG.shape[0])
    columns = random.sample(range(rewards_MG.shape[1]), rewards_MG.shape[1])
    moved = advantages(rewards_MG[rows][:, columns], settings, weight=0.4)
    np.testing.assert_allclose(moved, ours[rows][:, columns], atol=1e-9)


@given(GRIDS, SETTINGS, st.floats(0.5, 20))
def test_scale(rewards_MG: Rewards, settings: AlgorithmSettings, scale: float) -> None:
    ours, scaled = (advantages(r, settings, weight=0.4) for r in (rewards_MG, scale * rewards_MG))
    if not settings.by_std:
        np.testing.assert_allclose(scaled, scale * ours, atol=1e-9)
    elif settings.normalise != "both":
        # Only the 1e-4 in the denominator tells the scales apart; the least std here is .0062. Not for
        # `both`, whose two parts may nearly cancel: then no relative bound holds.
        np.testing.assert_allclose(scaled, ours, rtol=0.03, atol=1e-9)


def test_a_batch_shares_one_weight_and_its_parts_can_be_told_it() -> None:
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
