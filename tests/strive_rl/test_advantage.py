"""Advantages by hand on 2×2 grids, their laws on any rewards, and the fact about equal groups."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strive_rl.advantage import advantages, is_uninformative, variance_parts

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8)
GRIDS = hnp.arrays(np.float64, SHAPES, elements=st.integers(0, 20).map(lambda n: n / 20))
NORMALISE = st.sampled_from(["joint", "per_variant", "both"])

# Two questions of 2 variants × 2 completions. Means: joint .5 and .25, rows (1, 0) and (.5, 0).
REWARDS_QMG = np.array([[[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]])


def test_joint_by_hand():
    first = np.array([[0.5, 0.5], [-0.5, -0.5]]) / (0.5 + 1e-4)
    second = np.array([[0.75, -0.25], [-0.25, -0.25]]) / (math.sqrt(3) / 4 + 1e-4)
    ours = advantages(REWARDS_QMG, normalise="joint", divide_by_std=True)
    np.testing.assert_allclose(ours, [first, second], rtol=1e-14)


def test_per_variant_by_hand():
    # Rows of equal rewards give 0; the row (1, 0) gives ±.5/(.5 + 1e-4).
    half = 0.5 / 0.5001
    expected = [[[0, 0], [0, 0]], [[half, -half], [0, 0]]]
    ours = advantages(REWARDS_QMG, normalise="per_variant", divide_by_std=True)
    np.testing.assert_allclose(ours, expected, rtol=1e-14)


def test_both_is_the_sum():
    parts = [advantages(REWARDS_QMG, normalise=n, divide_by_std=True) for n in ("joint", "per_variant")]
    ours = advantages(REWARDS_QMG, normalise="both", divide_by_std=True)
    np.testing.assert_allclose(ours, parts[0] + parts[1], rtol=1e-14)


def test_dr_grpo_subtracts_the_mean_only():
    ours = advantages(REWARDS_QMG[1], normalise="joint", divide_by_std=False)
    assert ours.tolist() == [[0.75, -0.25], [-0.25, -0.25]]


def test_grpo_is_one_variant():
    rewards_1G = np.array([[1.0, 0.0, 0.0, 0.0]])
    expected = (rewards_1G - 0.25) / (math.sqrt(3) / 4 + 1e-4)
    for normalise in ("joint", "per_variant"):
        ours = advantages(rewards_1G, normalise=normalise, divide_by_std=True)
        np.testing.assert_allclose(ours, expected, rtol=1e-14)
    np.testing.assert_allclose(ours, [[math.sqrt(3), *[-1 / math.sqrt(3)] * 3]], rtol=1e-3)


def test_joint_grid_equals_one_long_group_and_per_variant_does_not():
    rewards = np.random.default_rng(0).random((2, 4))
    one_group = advantages(rewards.reshape(1, 8), normalise="joint", divide_by_std=True)
    joint = advantages(rewards, normalise="joint", divide_by_std=True)
    np.testing.assert_allclose(joint.ravel(), one_group[0], rtol=1e-12)
    per_variant = advantages(rewards, normalise="per_variant", divide_by_std=True)
    assert not np.allclose(per_variant.ravel(), one_group[0])


@given(st.floats(0, 1), SHAPES, NORMALISE, st.booleans())
def test_equal_rewards_give_exactly_zero(reward, shape, normalise, divide_by_std):
    ours = advantages(np.full(shape, reward), normalise=normalise, divide_by_std=divide_by_std)
    assert (ours == 0).all()


def test_the_guard_for_equal_rewards_is_needed():
    rewards = np.full((1, 6), 0.1)
    assert (rewards - rewards.mean()).any()


@given(GRIDS, NORMALISE, st.booleans())
def test_advantages_sum_to_zero_and_keep_the_order(rewards_MG, normalise, divide_by_std):
    ours = advantages(rewards_MG, normalise=normalise, divide_by_std=divide_by_std)
    assert ours.shape == rewards_MG.shape
    assert ours.sum() == pytest.approx(0, abs=1e-9)
    for rewards_G, ours_G in zip(rewards_MG, ours, strict=True):
        assert (np.diff(ours_G[np.argsort(rewards_G, kind="stable")]) >= -1e-12).all()


@given(GRIDS, NORMALISE, st.booleans(), st.floats(-5, 5), st.randoms(use_true_random=False))
def test_shift_and_permutation(rewards_MG, normalise, divide_by_std, shift, random):
    ours = advantages(rewards_MG, normalise=normalise, divide_by_std=divide_by_std)
    shifted = advantages(rewards_MG + shift, normalise=normalise, divide_by_std=divide_by_std)
    np.testing.assert_allclose(shifted, ours, atol=1e-9)
    rows = random.sample(range(rewards_MG.shape[0]), rewards_MG.shape[0])
    columns = random.sample(range(rewards_MG.shape[1]), rewards_MG.shape[1])
    moved = advantages(rewards_MG[rows][:, columns], normalise=normalise, divide_by_std=divide_by_std)
    np.testing.assert_allclose(moved, ours[rows][:, columns], atol=1e-9)


# Not "both": its two parts may nearly cancel, and then no relative bound holds.
@given(GRIDS, st.sampled_from(["joint", "per_variant"]), st.floats(0.5, 20))
def test_scale(rewards_MG, normalise, scale):
    plain, plain_scaled = (
        advantages(r, normalise=normalise, divide_by_std=False) for r in (rewards_MG, scale * rewards_MG)
    )
    np.testing.assert_allclose(plain_scaled, scale * plain, atol=1e-9)
    # With the std only the 1e-4 in the denominator tells the scales apart; the least std here is .0062.
    ours, scaled = (
        advantages(r, normalise=normalise, divide_by_std=True) for r in (rewards_MG, scale * rewards_MG)
    )
    np.testing.assert_allclose(scaled, ours, rtol=0.03, atol=1e-9)


def test_one_reward_without_a_grid_is_refused():
    with pytest.raises(ValueError, match="expected"):
        advantages([1.0, 0.0], normalise="joint", divide_by_std=True)


def test_variance_parts_by_hand():
    between = variance_parts(REWARDS_QMG[0])
    assert (between.between, between.within, between.eta2) == (1, 0, 1)
    # Row means .5 and 0, grand mean .25: SS_B = 2·2·.0625, SS_W = 2·.25
    mixed = variance_parts(REWARDS_QMG[1])
    assert (mixed.between, mixed.within) == (0.25, 0.5)
    assert mixed.eta2 == pytest.approx(1 / 3)
    assert math.isnan(variance_parts(np.full((2, 4), 0.1)).eta2)


@given(GRIDS)
def test_variance_parts_add_up(rewards_MG):
    parts = variance_parts(rewards_MG)
    total = ((rewards_MG - rewards_MG.mean()) ** 2).sum()
    assert parts.between + parts.within == pytest.approx(total, abs=1e-12)
    assert math.isnan(parts.eta2) or 0 <= parts.eta2 <= 1


def test_filter_is_on_accuracy():
    accuracy = np.ones((2, 4))
    shaped = 0.9 * accuracy + 0.1 * np.eye(2, 4)
    assert is_uninformative(accuracy)
    assert not is_uninformative(shaped)
    assert not is_uninformative(np.eye(2, 4))


@pytest.mark.parametrize(("variants", "completions", "share"), [(1, 8, 0.222), (2, 4, 0.080), (4, 2, 0.025)])
def test_share_of_equal_groups_under_a_uniform_success_rate(variants, completions, share):
    """METHOD.md section 5: p_m ~ Beta(1, 1), P = (E p^G)^M + (E(1−p)^G)^M = 2/(G + 1)^M."""
    assert 2 / (completions + 1) ** variants == pytest.approx(share, abs=5e-4)
    rng = np.random.default_rng(0)
    rate_QM1 = rng.random((40_000, variants, 1))
    accuracy_QMG = (rng.random((40_000, variants, completions)) < rate_QM1).astype(float)
    counted = np.mean([is_uninformative(accuracy) for accuracy in accuracy_QMG])
    # Four standard errors.
    assert counted == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 40_000))
