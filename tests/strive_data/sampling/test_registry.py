"""What holds for every sampler: exact sizes, order, names, rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strive_data.config import SamplerSettings
from strive_data.errors import SampleError, SettingsError
from strive_data.sampling.registry import NOISY, SAMPLERS, draw, draw_rows
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
