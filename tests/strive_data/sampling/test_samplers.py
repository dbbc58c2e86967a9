""""""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strive_data.config import SamplerSettings
from strive_data.errors import SampleError, SettingsError
from strive_data.sampling.comb import z_scores
from strive_data.sampling.samplers import (
    NOISY,
    SAMPLERS,
    best,
    draw,
    draw_rows,
    gumbel_noise,
    leaves,
    uniform_indices,
)
from tests.strive_data.sampling.hostile import OFFSETS, SCORES, WHOLE_SCORES, settings

IDENTICAL = ("aks", "bolt", "topk")


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@given(scores_N=SCORES, chosen=settings(), at=OFFSETS)
@example(np.zeros(12, np.float32), SamplerSettings(frames=4, variants=3, kappa=1 / 3), 1 - 2**-53)
@example(np.zeros(12, np.float32), SamplerSettings(frames=4, variants=3, kappa=1 / 3), 0.0)
def test_1_distinct_increasing_and_all_frames_of_short_videos(name, scores_N, chosen, at):
    drawn_MK = draw(name, scores_N, chosen, offset=at)
    count = len(scores_N)
    assert drawn_MK.dtype == np.int32
    assert drawn_MK.shape == (chosen.variants, min(chosen.frames, count))
    assert (np.diff(drawn_MK, axis=1) > 0).all()
    assert drawn_MK.min() >= 0
    assert drawn_MK.max() < count


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@given(scores_N=WHOLE_SCORES, chosen=settings())
def test_6_scale_and_shift_change_nothing(name, scores_N, chosen):
    # An odd offset: no boundary of an interval lies within rounding of a query point.
    first = draw(name, scores_N, chosen, offset=0.3141592653)
    if name in ("aks", "bolt"):
        # They divide by the range of the scores: only a power of two times it leaves every bit alone.
        assert (first == draw(name, 4 * scores_N, chosen, offset=0.3141592653)).all()
    else:
        assert (first == draw(name, 4 * scores_N + 7, chosen, offset=0.3141592653)).all()


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@given(scores_N=SCORES, chosen=settings(), at=OFFSETS)
def test_deterministic_and_blind_to_the_sample(name, scores_N, chosen, at):
    kept = scores_N.copy()
    first = draw(name, scores_N, chosen, offset=at)
    assert (first == draw(name, scores_N.copy(), chosen, offset=at)).all()
    assert (scores_N == kept).all()


@pytest.mark.parametrize("name", IDENTICAL)
@given(scores_N=SCORES, chosen=settings(), at=OFFSETS)
def test_variants_of_the_rigid_baselines_are_identical(name, scores_N, chosen, at):
    drawn_MK = draw(name, scores_N, chosen, offset=at)
    assert (drawn_MK == drawn_MK[0]).all()
    assert (drawn_MK == draw(name, scores_N, chosen, offset=0.0)).all()


@pytest.mark.parametrize("name", sorted(SAMPLERS))
@given(count=st.integers(2, 60), seed=st.integers(0, 99))
def test_rows_are_the_samples_one_by_one(name, count, seed):
    rng = np.random.default_rng(seed)
    scores_QN = rng.standard_t(2, (5, count)).astype(np.float32)
    scores_QN[1], scores_QN[2, 1:] = 0.25, 0
    chosen = SamplerSettings(frames=8, variants=3)
    offsets_Q = rng.random(5)
    rows_QMK = draw_rows(name, scores_QN, chosen, offsets_Q=offsets_Q)
    assert rows_QMK.dtype == np.int32
    for q in range(5):
        assert (rows_QMK[q] == draw(name, scores_QN[q], chosen, offset=offsets_Q[q])).all()


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_scores_that_are_not_finite_are_refused(name):
    scores_N = np.zeros(20, np.float32)
    scores_N[3] = np.nan
    with pytest.raises(SampleError, match="1 scores are not finite, first: 3"):
        draw(name, scores_N, SamplerSettings(), offset=0.5)
    with pytest.raises(SampleError, match="not finite"):
        draw_rows(name, scores_N[None], SamplerSettings(), offsets_Q=np.array([0.5]))


def test_unknown_sampler_is_refused_with_a_suggestion():
    with pytest.raises(SettingsError, match="did you mean 'uniform'"):
        draw("unifrom", np.zeros(4, np.float32), SamplerSettings(), offset=0.5)


# Fractions of 2^20, so that (m + φ)/M is one number in both draws.
EXACT_OFFSETS = st.integers(0, 2**20 - 1).map(lambda k: k / 2**20)


@pytest.mark.parametrize(
    ("name", "cells"),
    [("peaks", 1), ("peaks", 2), ("peaks", 3), *((name, 2) for name in sorted(set(SAMPLERS) - {"peaks"}))],
)
@given(SCORES, settings(), EXACT_OFFSETS)
def test_one_variant_is_the_same_kind_of_view_for_any_number_of_variants(name, cells, scores_N, chosen, at):
    """Variant m of M at φ is the only variant at (m + φ)/M; of gumbel, whose φ keys noise, the first of M."""
    chosen = replace(chosen, peaks_cells=cells, kappa=1.0)  # one variant has no other κ
    if cells == chosen.variants and name == "peaks":
        return  # the grid itself: see the next test
    drawn_MK = draw(name, scores_N, chosen, offset=at)
    for m, row_K in enumerate(drawn_MK[:1] if name in NOISY else drawn_MK):
        alone = at if name in NOISY else (m + at) / chosen.variants
        single = draw(name, scores_N, replace(chosen, variants=1), offset=alone)
        assert single.tolist() == [row_K.tolist()]


@given(SCORES, settings(), st.integers(0, 15).map(lambda k: k / 16))
def test_two_variants_are_those_of_their_own_grid(scores_N, chosen, at):
    """C = M: the rows of one grid are single views too, here where all offsets are exact."""
    two = replace(chosen, variants=2, kappa=1.0)
    drawn_MK = draw("peaks", scores_N, two, offset=at)
    assert drawn_MK.tolist() == draw("peaks", scores_N, replace(two, peaks_cells=0), offset=at).tolist()
    for m, row_K in enumerate(drawn_MK):
        single = draw("peaks", scores_N, replace(two, variants=1), offset=(m + at) / 2)
        assert single.tolist() == [row_K.tolist()]


def test_uniform_by_hand():
    assert uniform_indices(10, 4).tolist() == [1, 3, 6, 8]
    assert uniform_indices(8, 8).tolist() == list(range(8))
    assert uniform_indices(3, 8).tolist() == [0, 1, 2]
    assert uniform_indices(128, 2).tolist() == [32, 96]


@given(SCORES, st.integers(1, 20), st.sampled_from(["flat", "alpha", "epsilon", "uniform"]))
@example(np.zeros(90, np.float32), 16, "flat")
def test_5_uniform_limits(scores_N, pairs, which):
    chosen = SamplerSettings(frames=2 * pairs, variants=1)
    if which == "flat":
        scores_N = np.full_like(scores_N, 0.3)
    elif which != "uniform":
        chosen = replace(chosen, **{which: 1.0})
    drawn = draw("uniform" if which == "uniform" else "comb", scores_N, chosen, offset=0.5)
    assert drawn.tolist() == [uniform_indices(len(scores_N), chosen.frames).tolist()]


def test_5_holds_for_every_small_count():
    for count in range(1, 200):
        for frames in (2, 6, 16, 32):
            chosen = SamplerSettings(frames=frames, variants=1)
            drawn = draw("comb", np.zeros(count, np.float32), chosen, offset=0.5)
            expected = (
                [int((k + 0.5) * count / frames) for k in range(frames)] if count > frames else range(count)
            )
            assert drawn[0].tolist() == list(expected)


def test_by_hand_and_ties_go_to_the_earliest():
    assert best(np.array([0.1, 0.9, 0.3, 0.9, 0.2]), 3).tolist() == [1, 2, 3]
    assert best(np.array([1.0, 0.0, 1.0, 1.0]), 2).tolist() == [0, 2]
    assert drawn("topk", [3, 1, 2, 5], frames=2) == [0, 3]


@given(SCORES, settings(), OFFSETS)
def test_no_frame_left_out_is_better_than_one_taken(scores_N, chosen, at):
    taken = draw("topk", scores_N, chosen, offset=at)[0]
    left = np.delete(scores_N, taken)
    assert left.size == 0 or left.max() <= scores_N[taken].min()


def test_the_noise_is_standard_gumbel_and_fixed_by_the_phase():
    noise = gumbel_noise(0.25, 40_000)
    # Mean: Euler's constant; variance π²/6; P(below 0) = exp(−1).
    assert abs(noise.mean() - np.euler_gamma) < 0.02
    assert abs(noise.var() - math.pi**2 / 6) < 0.05
    assert abs((noise < 0).mean() - math.exp(-1)) < 0.01
    assert (gumbel_noise(0.25, 5) == noise[:5]).all()
    assert not (gumbel_noise(0.25 + 2**-53, 5) == noise[:5]).any()


def test_first_draws_follow_the_softmax():
    # With K = 2 of 3 the frame left out follows: P(i, j kept) = p_i p_j/(1−p_i) + p_j p_i/(1−p_j).
    scores_N = np.array([1.0, 0.0, -1.0], np.float32)
    chosen = SamplerSettings(frames=2, variants=1, gumbel_tau=2.0)
    p = np.exp(z_scores(scores_N) / 2)
    p /= p.sum()
    left_out = np.zeros(3)
    offsets = (np.arange(4000) + 0.5) / 4000
    for at in offsets:
        left_out[3 - draw("gumbel", scores_N, chosen, offset=at).sum()] += 1 / len(offsets)
    pairs = {2: (0, 1), 1: (0, 2), 0: (1, 2)}
    expected = [p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j])) for i, j in (pairs[k] for k in range(3))]
    np.testing.assert_allclose(left_out, expected, atol=0.025)


def test_variants_differ_and_a_cold_tau_is_top_k():
    scores_N = np.random.default_rng(0).normal(size=60).astype(np.float32)
    chosen = SamplerSettings(frames=8, variants=2)
    first, second = draw("gumbel", scores_N, chosen, offset=0.5)
    assert first.tolist() != second.tolist()
    cold = draw("gumbel", scores_N, replace(chosen, gumbel_tau=1e-9), offset=0.5)
    assert (cold == draw("topk", scores_N, chosen, offset=0.5)).all()


def drawn(name, scores, **changes):
    chosen = SamplerSettings(variants=1, **changes)
    return draw(name, np.array(scores, np.float32), chosen, offset=0.5)[0].tolist()


def test_by_hand():
    # Weights 0 ⅛ 1 1 0 (powers 3 of 0 ½ 1 1 0), C = 0 .125 1.125 2.125 2.125; points ⅓ and ⅔ of 2.125.
    assert drawn("bolt", [0, 0.5, 1, 1, 0], frames=2) == [2, 3]
    # Power 1: C = 0 .5 1.5 2.5 2.5; points .83 and 1.67.
    assert drawn("bolt", [0, 0.5, 1, 1, 0], frames=2, bolt_power=1.0) == [2, 3]
    # C = 1 1 1 2; points ⅔ and 1⅓.
    assert drawn("bolt", [1, 0, 0, 1], frames=2) == [0, 3]


def test_one_peak_gives_way_to_its_neighbours():
    assert drawn("bolt", [0, 0, 0, 9, 0, 0, 0, 0], frames=4) == [3, 4, 5, 6]
    assert drawn("bolt", [0, 0, 0, 0, 0, 0, 0, 9], frames=4) == [4, 5, 6, 7]


def test_a_part_that_stands_out_is_not_halved():
    # mean of the best 2 = 1, of all = .2: .8 > .7, so it stays whole; > .8 does not hold: halved.
    share_N = np.array([0, 0, 1, 0, 0, 0, 0, 1, 0, 0.0])
    assert list(leaves(share_N, frames=2, threshold=0.7)) == [(0, 10, 0)]
    assert list(leaves(share_N, frames=2, threshold=0.81)) == [(0, 5, 1), (5, 10, 1)]


def test_aks_by_hand():
    # Halves of 4, best one of each; whole: both from the first half.
    assert drawn("aks", [5, 4, 0, 0, 1, 0, 2, 0], frames=2, aks_threshold=1.0) == [0, 6]
    assert drawn("aks", [5, 4, 0, 0, 1, 0, 2, 0], frames=2, aks_threshold=0.0) == [0, 1]


def test_six_frames_of_four_quarters_are_filled_up_by_the_best():
    # K = 6: depth 2, one frame from each quarter, then the two best of those left: 1 and 2.
    scores = [9, 8, 7, 0, 1, 2, 0, 0, 3, 0, 0, 1, 0, 0, 2, 0]
    assert drawn("aks", scores, frames=6, aks_threshold=1.0) == [0, 1, 2, 5, 8, 14]


@given(SCORES, settings())
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_parts_tile_the_video(threshold, scores_N, chosen):
    if len(scores_N) < chosen.frames or scores_N.min() == scores_N.max():
        return
    share_N = (scores_N - scores_N.min()).astype(np.float64) / (scores_N.max() - scores_N.min())
    parts = list(leaves(share_N, frames=chosen.frames, threshold=threshold))
    assert [start for start, _, _ in parts] == [0, *(end for _, end, _ in parts[:-1])]
    assert parts[-1][1] == len(scores_N)
    assert sum(2.0**-depth for _, _, depth in parts) == 1
    assert max(depth for _, _, depth in parts) <= min(5, int(np.log2(chosen.frames)))
