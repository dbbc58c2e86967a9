from __future__ import annotations

import numpy as np
from hypothesis import given

from strive_data.config import SamplerSettings
from strive_data.samplers import draw
from strive_data.samplers.topk import best
from tests.strive_data.samplers.hostile import PHASES, SCORES, settings


def test_by_hand_and_ties_go_to_the_earliest():
    assert best(np.array([0.1, 0.9, 0.3, 0.9, 0.2]), 3).tolist() == [1, 2, 3]
    assert best(np.array([1.0, 0.0, 1.0, 1.0]), 2).tolist() == [0, 2]
    assert draw(
        "topk", np.array([3, 1, 2, 5], np.float32), SamplerSettings(frames=2), phase=0.5
    ).tolist() == [
        [0, 3],
        [0, 3],
    ]


@given(SCORES, settings(), PHASES)
def test_no_frame_left_out_is_better_than_one_taken(scores_N, chosen, at):
    taken = draw("topk", scores_N, chosen, phase=at)[0]
    left = np.delete(scores_N, taken)
    assert left.size == 0 or left.max() <= scores_N[taken].min()
