from __future__ import annotations

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.samplers import draw, uniform_indices


def drawn(scores, **changes):
    return draw("bolt", np.array(scores, np.float32), SamplerSettings(variants=1, **changes), phase=0.5)[
        0
    ].tolist()


def test_by_hand():
    # Weights 0 ⅛ 1 1 0 (powers 3 of 0 ½ 1 1 0), C = 0 .125 1.125 2.125 2.125; points ⅓ and ⅔ of 2.125.
    assert drawn([0, 0.5, 1, 1, 0], frames=2) == [2, 3]
    # Power 1: C = 0 .5 1.5 2.5 2.5; points .83 and 1.67.
    assert drawn([0, 0.5, 1, 1, 0], frames=2, bolt_power=1.0) == [2, 3]
    # C = 1 1 1 2; points ⅔ and 1⅓.
    assert drawn([1, 0, 0, 1], frames=2) == [0, 3]


def test_one_peak_gives_way_to_its_neighbours():
    assert drawn([0, 0, 0, 9, 0, 0, 0, 0], frames=4) == [3, 4, 5, 6]
    assert drawn([0, 0, 0, 0, 0, 0, 0, 9], frames=4) == [4, 5, 6, 7]


def test_flat_scores_are_sampled_uniformly():
    assert drawn([0.3] * 50, frames=8) == uniform_indices(50, 8).tolist()
