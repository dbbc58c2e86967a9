"""Density and water-filling against hand-worked numbers, and their laws on hostile scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strive_data.errors import FailureKind, SampleError
from strive_data.sampling.density import density, inclusion, z_scores

FLOAT32 = st.floats(-(2.0**100), 2.0**100, width=32)
TIED = st.sampled_from([0.0, 1.0, 2.0])
SPIKY = st.sampled_from([0.0, 1e-30, 1.0, 1e30])
SCORES = st.one_of(
    hnp.arrays(np.float32, st.integers(1, 60), elements=element) for element in (FLOAT32, TIED, SPIKY)
)


def perplexity(q_N):
    positive = q_N[q_N > 0]
    return math.exp(-(positive * np.log(positive)).sum())


def test_z_scores_by_hand():
    # median 3, absolute deviations 2 1 0 1 97, MAD 1
    expected = [-2 / 1.4826, -1 / 1.4826, 0, 1 / 1.4826, 5]
    np.testing.assert_allclose(z_scores([1, 2, 3, 4, 100]), expected, rtol=1e-15)


def test_z_scores_use_the_standard_deviation_where_more_than_half_tie():
    # MAD 0; mean 1, standard deviation 2, median 0
    np.testing.assert_allclose(z_scores([0, 0, 0, 0, 5]), [0, 0, 0, 0, 2.5])


def test_equal_scores_have_z_zero_although_their_standard_deviation_rounds_to_more():
    scores = np.full(3, 0.1)
    assert scores.std() > 0
    assert not z_scores(scores).any()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_refused(bad):
    with pytest.raises(SampleError, match="1 scores are not finite, first: 2") as caught:
        z_scores([0.0, 1.0, bad])
    assert caught.value.kind is FailureKind.SCORE_FAILED


def test_no_scores_are_refused():
    with pytest.raises(SampleError, match="expected"):
        density([], alpha=0.5, epsilon=0.5)


@given(SCORES, st.floats(0.05, 1))
def test_perplexity_is_alpha_n_or_the_number_of_tied_maxima(scores_N, alpha):
    q_N = density(scores_N, alpha=alpha, epsilon=0.0)
    z_N = z_scores(scores_N)
    # Some way below a gap of 1e-9 in z two scores become ties to the search.
    least, most = (max(alpha * z_N.size, (z_N >= z_N.max() - gap).sum()) for gap in (0, 1e-9))
    assert q_N.sum() == pytest.approx(1)
    assert least * (1 - 1e-6) <= perplexity(q_N) <= most * (1 + 1e-6)


@given(SCORES, st.floats(0.05, 1), st.floats(0, 1))
def test_floor_and_order(scores_N, alpha, epsilon):
    p_N = density(scores_N, alpha=alpha, epsilon=epsilon)
    assert p_N.min() >= epsilon / p_N.size * (1 - 1e-12)
    order = np.argsort(z_scores(scores_N), kind="stable")
    assert (np.diff(p_N[order]) >= -1e-15).all()


def test_tau_by_hand():
    # Two candidates, z = ±1/1.4826; perplexity 2^(entropy in bits) for p = (.9, .1).
    target = math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    np.testing.assert_allclose(density([1, 0], alpha=target / 2, epsilon=0), [0.9, 0.1], rtol=1e-12)
    np.testing.assert_allclose(density([1, 0], alpha=target / 2, epsilon=0.5), [0.7, 0.3], rtol=1e-12)


def test_too_small_alpha_takes_the_tied_maxima():
    np.testing.assert_allclose(density([3, 3, 1, 0], alpha=0.25, epsilon=0), [0.5, 0.5, 0, 0])


def test_alpha_one_is_the_base_exactly():
    assert (density([1, 5, 2, 9], alpha=1, epsilon=0) == 0.25).all()
    base_N = np.array([1.0, 1.0, 2.0])
    np.testing.assert_allclose(density([1, 5, 2], alpha=1, epsilon=0, base_N=base_N), [0.25, 0.25, 0.5])


@given(
    hnp.arrays(np.float64, st.integers(2, 40), elements=st.integers(-50, 50).map(float)),
    st.floats(0.1, 10),
    st.floats(-100, 100),
)
def test_invariant_under_positive_scale_and_shift(scores_N, scale, shift):
    ours = density(scores_N, alpha=0.3, epsilon=0.5)
    np.testing.assert_allclose(density(scale * scores_N + shift, alpha=0.3, epsilon=0.5), ours, atol=1e-9)


def test_negative_scale_is_not_harmless():
    assert not np.allclose(
        density([0, 1, 5], alpha=0.5, epsilon=0), density([0, -1, -5], alpha=0.5, epsilon=0)
    )


def test_water_filling_by_hand():
    # K = 2: c·p = (1, .6, .4) at c = 2; with κ = .8 the first is capped and .6 : .4 share 1.2.
    p_N = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(inclusion(p_N, frames=2, kappa=1.0), [1, 0.6, 0.4])
    np.testing.assert_allclose(inclusion(p_N, frames=2, kappa=0.8), [0.8, 0.72, 0.48])


def test_water_filling_cascades():
    # K = 3: .9·3 is capped at 1, then .06·2/.1 = 1.2 is, then the last two share 1.
    np.testing.assert_allclose(
        inclusion(np.array([0.9, 0.06, 0.03, 0.01]), frames=3, kappa=1.0), [1, 1, 0.75, 0.25]
    )


def test_what_the_saturated_cannot_take_goes_to_the_rest_equally():
    np.testing.assert_allclose(
        inclusion(np.array([1.0, 0, 0, 0, 0]), frames=3, kappa=1.0), [1, 0.5, 0.5, 0.5, 0.5]
    )


def test_kappa_is_lifted_where_too_few_candidates_exist():
    np.testing.assert_allclose(inclusion(np.array([0.7, 0.2, 0.1]), frames=2, kappa=0.5), [2 / 3] * 3)


def test_few_candidates_are_all_taken():
    assert inclusion(np.array([0.7, 0.3]), frames=2, kappa=0.5).tolist() == [1, 1]


@given(SCORES, st.integers(1, 20), st.integers(1, 4), st.floats(0.05, 1), st.floats(0, 1))
def test_inclusion_sums_to_the_frames_under_its_cap(scores_N, pairs, variants, alpha, epsilon):
    p_N = density(scores_N, alpha=alpha, epsilon=epsilon)
    frames = 2 * pairs
    pi_N = inclusion(p_N, frames=frames, kappa=1 / variants)
    assert pi_N.sum() == pytest.approx(min(frames, p_N.size), rel=1e-9)
    assert pi_N.min() >= 0
    assert pi_N.max() <= max(1 / variants, min(1, frames / p_N.size)) + 1e-12
