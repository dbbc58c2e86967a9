"""The comb on the peaks: by hand, what it keeps of the comb, and why it is the better default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strive_data.config import SamplerSettings
from strive_data.inspect.cases import read_qvhighlights
from strive_data.inspect.compare_samplers import Comparison, compare
from strive_data.sampling.baselines import uniform_indices
from strive_data.sampling.comb import comb
from strive_data.sampling.peaks import peaks
from strive_data.sampling.registry import draw
from tests.strive_data.sampling.hostile import OFFSETS, SCORES, settings


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


def test_certain_frames_stand_in_every_variant():
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
def duel(shared_data):
    """METHOD's comb and our default on all real queries, clean and noisy scores."""
    folder = shared_data / "frame_relevance" / "qvhighlights"
    if not folder.is_dir():
        pytest.skip(f"no real relevance scores: {folder} is absent")
    comparison = Comparison(samplers=(METHODS_COMB, DEFAULT), frames=(8, 16), noise=(0, 1), resamples=1)
    table = compare(read_qvhighlights(folder), comparison)
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


def test_a_view_meets_as_much_for_any_number_of_variants(shared_data):
    """With cells of mass 1/M one variant met .870 and its largest gap was .282 of the video."""
    folder = shared_data / "frame_relevance" / "qvhighlights"
    if not folder.is_dir():
        pytest.skip(f"no real relevance scores: {folder} is absent")
    comparison = Comparison(samplers=(DEFAULT,), frames=(8,), variants=(1, 2, 4), noise=(0,), resamples=1)
    table = compare(read_qvhighlights(folder), comparison)
    np.testing.assert_allclose(table["moment_recall"], [0.882, 0.881, 0.881], atol=0.001)
    np.testing.assert_allclose(table["largest_gap"], [0.237, 0.233, 0.234], atol=0.001)
