from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strive_data.config import SamplerSettings
from strive_data.errors import FailureKind, SampleError
from strive_data.inspect.compare_samplers import compare
from strive_data.sampling.comb import comb, comb_offset, density, inclusion, inclusion_of, peaks, z_scores
from strive_data.sampling.samplers import draw, uniform_indices
from tests.strive_data.sampling.hostile import HEAVY, OFFSETS, SCORES, settings

EXTREME = (HEAVY, st.sampled_from([0.0, 1.0, 2.0]), st.sampled_from([0.0, 1e-30, 1.0, 1e30]))
EXTREME_SCORES = st.one_of(
    hnp.arrays(np.float32, st.integers(1, 60), elements=element) for element in EXTREME
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


@given(EXTREME_SCORES, st.floats(0.05, 1))
def test_perplexity_is_alpha_n_or_the_number_of_tied_maxima(scores_N, alpha):
    q_N = density(scores_N, alpha=alpha, epsilon=0.0)
    z_N = z_scores(scores_N)
    # Some way below a gap of 1e-9 in z two scores become ties to the search.
    least, most = (max(alpha * z_N.size, (z_N >= z_N.max() - gap).sum()) for gap in (0, 1e-9))
    assert q_N.sum() == pytest.approx(1)
    assert least * (1 - 1e-6) <= perplexity(q_N) <= most * (1 + 1e-6)


@given(EXTREME_SCORES, st.floats(0.05, 1), st.floats(0, 1))
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


def test_alpha_one_is_uniform_exactly():
    assert (density([1, 5, 2, 9], alpha=1, epsilon=0) == 0.25).all()


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


@given(EXTREME_SCORES, st.integers(1, 20), st.integers(1, 4), st.floats(0.05, 1), st.floats(0, 1))
def test_inclusion_sums_to_the_frames_under_its_cap(scores_N, pairs, variants, alpha, epsilon):
    p_N = density(scores_N, alpha=alpha, epsilon=epsilon)
    frames = 2 * pairs
    pi_N = inclusion(p_N, frames=frames, kappa=1 / variants)
    assert pi_N.sum() == pytest.approx(min(frames, p_N.size), rel=1e-9)
    assert pi_N.min() >= 0
    assert pi_N.max() <= max(1 / variants, min(1, frames / p_N.size)) + 1e-12


GOLDEN_PHASE = 0.28360119428186226


def test_6_offset_depends_on_seed_id_and_epoch_only():
    assert comb_offset(0, "a", 0) == comb_offset(0, "a", 0)
    assert (
        len({comb_offset(0, "a", 0), comb_offset(1, "a", 0), comb_offset(0, "b", 0), comb_offset(0, "a", 1)})
        == 4
    )
    # (1, "1") and (11, "") must not share a key.
    assert comb_offset(1, "1", 0) != comb_offset(11, "", 0)


def test_phases_are_fixed_for_good_and_uniform():
    assert comb_offset(0, "1", 0) == GOLDEN_PHASE
    drawn = np.array([comb_offset(7, f"video-{i}", i % 3) for i in range(4000)])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts, _ = np.histogram(drawn, bins=10, range=(0, 1))
    # chi-square with 9 degrees of freedom: 27.9 at p = .001
    assert ((counts - 400) ** 2 / 400).sum() < 27.9


def test_comb_by_hand():
    # C = .5 1.0 1.6 2.0; points of variant 0: .25 1.25, of variant 1: .75 1.75
    pi_N = np.array([0.5, 0.5, 0.6, 0.4])
    assert comb(pi_N, frames=2, variants=2, offset=0.5).tolist() == [[0, 2], [1, 3]]
    # offset .9: points .45 1.45 and .95 1.95; offset 0: points 0 1 and .5 1.5
    assert comb(pi_N, frames=2, variants=2, offset=0.9).tolist() == [[0, 2], [1, 3]]
    assert comb(pi_N, frames=2, variants=2, offset=0.0).tolist() == [[0, 2], [1, 2]]


def test_certain_frames_stand_in_every_variant():
    pi_N = np.array([0.25, 1.0, 0.25, 0.25, 0.25])
    assert comb(pi_N, frames=2, variants=2, offset=0.5).tolist() == [[1, 2], [1, 4]]


@pytest.mark.parametrize("kappa", [1 / 3, 0.5, 1.0])
def test_2_inclusion_frequency_over_the_phase(kappa):
    scores_N = np.random.default_rng(0).standard_t(2, 50)
    chosen = SamplerSettings(frames=8, variants=3, alpha=0.3, epsilon=0.5, kappa=kappa)
    pi_N = inclusion_of(scores_N, chosen)
    grid = (np.arange(2000) + 0.5) / 2000
    uses_MN = np.zeros((3, 50))
    for at in grid:
        for variant, row_K in enumerate(comb(pi_N, frames=8, variants=3, offset=at)):
            uses_MN[variant, row_K] += 1 / len(grid)
    # Each variant sweeps a third of the unit interval; the three together sweep it all.
    np.testing.assert_allclose(uses_MN.mean(axis=0), pi_N, atol=1.1 / 2000)


@given(SCORES, settings(), OFFSETS)
def test_4_balance(scores_N, chosen, at):
    uses_N = np.bincount(draw("comb", scores_N, chosen, offset=at).ravel(), minlength=len(scores_N))
    assert (np.abs(uses_N - chosen.variants * inclusion_of(scores_N, chosen)) < 1 + 1e-7).all()


def test_by_hand():
    # Equal mass ¼ a frame: cells of variant 0 are 0-1 and 4-5, of variant 1 2-3 and 6-7.
    pi_N = np.full(8, 0.25)
    scores_N = np.array([3, 1, 0, 5, 2, 7, 9, 4.0])
    assert peaks(pi_N, scores_N, frames=2, variants=2, offset=0.5).tolist() == [[0, 5], [3, 6]]
    # The comb meets 1 and 5, 3 and 7.
    assert comb(pi_N, frames=2, variants=2, offset=0.5).tolist() == [[1, 5], [3, 7]]


def test_a_tie_goes_to_the_nearest_to_the_comb():
    pi_N = np.full(8, 0.25)
    assert peaks(pi_N, np.zeros(8), frames=2, variants=1, offset=0.5).tolist() == [[2, 6]]
    scores_N = np.array([1, 1, 0, 1, 0, 0, 0, 0.0])
    assert peaks(pi_N, scores_N, frames=2, variants=1, offset=0.5).tolist() == [[1, 6]]


def test_certain_frames_stand_in_every_variant_of_peaks():
    pi_N = np.array([0.25, 1.0, 0.25, 0.25, 0.25])
    drawn_MK = peaks(pi_N, np.array([0, 9, 0, 1, 0.0]), frames=2, variants=2, offset=0.5)
    assert (drawn_MK == 1).any(axis=1).all()


@pytest.mark.parametrize("name", ["comb", "peaks"])
@given(scores_N=SCORES, chosen=settings(), at=OFFSETS)
def test_3_coverage(name, scores_N, chosen, at):
    count = len(scores_N)
    if count <= chosen.frames:
        return
    cells = 1 + 1.5 / chosen.peaks_cells if name == "peaks" else 1
    limit = cells * count / (chosen.epsilon * chosen.frames) + 1e-6
    for row_K in draw(name, scores_N, chosen, offset=at):
        assert np.diff(row_K).max() <= limit + 1
        assert row_K[0] <= limit
        assert count - 1 - row_K[-1] <= limit


@pytest.mark.parametrize("name", ["comb", "peaks"])
@given(scores_N=SCORES, chosen=settings(disjoint=True), at=OFFSETS)
@example(np.zeros(12, np.float32), SamplerSettings(frames=4, variants=3, kappa=1 / 3), 1 - 2**-53)
@example(np.zeros(12, np.float32), SamplerSettings(frames=4, variants=3, kappa=1 / 3), 0.0)
def test_4_kappa_one_over_m_gives_disjoint_variants(name, scores_N, chosen, at):
    chosen = replace(chosen, peaks_cells=0)
    if len(scores_N) >= chosen.frames * chosen.variants:
        drawn = draw(name, scores_N, chosen, offset=at).ravel().tolist()
        assert len(set(drawn)) == len(drawn)


@given(SCORES, settings(), OFFSETS)
def test_never_scores_worse_than_the_comb_in_any_stratum(scores_N, chosen, at):
    chosen = replace(chosen, peaks_cells=0)
    ours, theirs = (draw(name, scores_N, chosen, offset=at) for name in ("peaks", "comb"))
    # Where variants share frames, or the comb had to push two points apart, cells are shared.
    if len(np.unique(theirs)) == theirs.size:
        assert (scores_N[ours] >= scores_N[theirs]).all()


@pytest.mark.parametrize("name", ["aks", "bolt", "peaks"])
@given(count=st.integers(1, 200), pairs=st.integers(1, 20))
def test_flat_scores_are_sampled_uniformly(name, count, pairs):
    chosen = SamplerSettings(frames=2 * pairs, variants=1)
    drawn = draw(name, np.full(count, 0.3, np.float32), chosen, offset=0.5)
    assert drawn.tolist() == [uniform_indices(count, chosen.frames).tolist()]


def test_the_offset_moves_the_cells():
    scores_N = np.random.default_rng(0).normal(size=128).astype(np.float32)
    chosen = SamplerSettings(frames=8, variants=2)
    assert len({draw("peaks", scores_N, chosen, offset=at).tobytes() for at in (0.0, 0.3, 0.6, 0.9)}) > 1
    assert draw("peaks", scores_N, replace(chosen, epsilon=1.0), offset=0.5).shape == (2, 8)


METHODS_COMB, DEFAULT = "comb:alpha=0.3,epsilon=0.5", "peaks:alpha=0.4,epsilon=0.6"


@pytest.fixture(scope="module")
def duel(qvhighlights):
    """METHOD's comb and our default on all real queries, clean and noisy scores."""
    compared = {"samplers": (METHODS_COMB, DEFAULT), "frames": (8, 16), "noise": (0, 1)}
    table = compare(qvhighlights, **compared, resamples=1)
    return table.filter(sampler=METHODS_COMB), table.filter(sampler=DEFAULT)


def test_the_default_is_the_one_that_was_judged_best():
    chosen = SamplerSettings()
    assert (chosen.name, chosen.alpha, chosen.epsilon, chosen.kappa) == ("peaks", 0.4, 0.6, 1.0)


@pytest.mark.slow
def test_the_default_meets_more_moments_than_the_comb_of_the_method(duel):
    old, new = duel
    assert old.height == 8
    assert (new["worst_recall"] > old["worst_recall"]).all()
    union = new["union_recall"] - old["union_recall"]
    assert (union.filter(new["variants"] == 2) > 0).all()
    assert (union > -0.02).all()  # four variants of overlapping cells share frames
    assert (new["largest_gap"] < old["largest_gap"] + 0.004).all()


def test_the_numbers_of_the_documentation(duel):
    row = duel[1].filter(frames=8, variants=2, noise=0).row(0, named=True)
    measured = [row[name] for name in ("moment_recall", "largest_gap", "worst_recall", "union_recall")]
    np.testing.assert_allclose(measured, [0.881, 0.233, 0.837, 0.938], atol=0.001)


def test_a_view_meets_as_much_for_any_number_of_variants(qvhighlights):
    """With cells of mass 1/M one variant met .870 and its largest gap was .282 of the video."""
    compared = {"samplers": (DEFAULT,), "frames": (8,), "variants": (1, 2, 4), "noise": (0,)}
    table = compare(qvhighlights, **compared, resamples=1)
    np.testing.assert_allclose(table["moment_recall"], [0.882, 0.881, 0.881], atol=0.001)
    np.testing.assert_allclose(table["largest_gap"], [0.237, 0.233, 0.234], atol=0.001)
