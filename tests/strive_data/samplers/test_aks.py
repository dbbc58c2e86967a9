from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from strive_data.config import SamplerSettings
from strive_data.samplers import draw, uniform_indices
from strive_data.samplers.aks import leaves
from tests.strive_data.samplers.hostile import SCORES, settings


def drawn(scores, **changes):
    return draw("aks", np.array(scores, np.float32), SamplerSettings(variants=1, **changes), phase=0.5)[
        0
    ].tolist()


def test_a_part_that_stands_out_is_not_halved():
    # mean of the best 2 = 1, of all = .2: .8 > .7, so it stays whole; > .8 does not hold: halved.
    share_N = np.array([0, 0, 1, 0, 0, 0, 0, 1, 0, 0.0])
    assert list(leaves(share_N, frames=2, threshold=0.7)) == [(0, 10, 0)]
    assert list(leaves(share_N, frames=2, threshold=0.81)) == [(0, 5, 1), (5, 10, 1)]


def test_by_hand():
    # Halves of 4, best one of each; whole: both from the first half.
    assert drawn([5, 4, 0, 0, 1, 0, 2, 0], frames=2, aks_threshold=1.0) == [0, 6]
    assert drawn([5, 4, 0, 0, 1, 0, 2, 0], frames=2, aks_threshold=0.0) == [0, 1]


def test_six_frames_of_four_quarters_are_filled_up_by_the_best():
    # K = 6: depth 2, one frame from each quarter, then the two best of those left: 1 and 2.
    scores = [9, 8, 7, 0, 1, 2, 0, 0, 3, 0, 0, 1, 0, 0, 2, 0]
    assert drawn(scores, frames=6, aks_threshold=1.0) == [0, 1, 2, 5, 8, 14]


def test_flat_scores_are_sampled_uniformly():
    assert drawn([0.3] * 50, frames=8) == uniform_indices(50, 8).tolist()


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
