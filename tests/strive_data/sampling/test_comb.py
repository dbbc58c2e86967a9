"""The comb: its properties, by hand, and the published numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given

from strive_data.config import SamplerSettings
from strive_data.sampling.comb import comb, comb_offset, inclusion_of
from strive_data.sampling.registry import draw
from tests.strive_data.sampling.hostile import OFFSETS, SCORES, settings

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


# Moment recall of a variant / largest gap / recall of the worst variant / of the union.
PUBLISHED = {
    ("uniform", 1.0): (0.833, 0.133, 0.759, 0.925),
    ("comb", 0.3): (0.862, 0.235, 0.812, 0.928),
    ("comb", 0.6): (0.870, 0.201, 0.820, 0.938),
}


@pytest.fixture(scope="module")
def qvhighlights(shared_data):
    """(scores of the 2 s clips, half-open clip ranges of the relevant moments) of 1,550 queries."""
    folder = shared_data / "frame_relevance" / "qvhighlights"
    if not folder.is_dir():
        pytest.skip(f"no real relevance scores: {folder} is absent")
    truths = map(json.loads, (folder / "highlight_val_release.jsonl").read_text().splitlines())
    moments = {row["qid"]: [(a // 2, b // 2) for a, b in row["relevant_windows"]] for row in truths}
    scored = map(json.loads, (folder / "moment_detr_val_preds.jsonl").read_text().splitlines())
    return [(np.array(row["pred_saliency_scores"], np.float32), moments[row["qid"]]) for row in scored]


@pytest.mark.parametrize(("name", "alpha"), PUBLISHED)
def test_published_recalls_and_gaps(qvhighlights, name, alpha):
    chosen = SamplerSettings(frames=8, variants=2, alpha=alpha, epsilon=0.5, kappa=1.0)
    measured = []
    for scores_N, moments in qvhighlights:
        drawn_MK = draw(name, scores_N, chosen, offset=0.5)
        hits_MR = np.array([[((row >= a) & (row < b)).any() for a, b in moments] for row in drawn_MK])
        gap = np.diff(drawn_MK, axis=1).max(axis=1).mean() / len(scores_N)
        measured.append((hits_MR.mean(), gap, hits_MR.mean(axis=1).min(), hits_MR.any(axis=0).mean()))
    assert len(measured) == 1550
    np.testing.assert_allclose(np.mean(measured, axis=0), PUBLISHED[name, alpha], atol=0.005)
