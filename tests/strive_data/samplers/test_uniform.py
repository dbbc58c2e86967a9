"""Even spacing, and property 5: where the comb and it are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from strive_data.config import SamplerSettings
from strive_data.samplers import draw, uniform_indices
from tests.strive_data.samplers.hostile import SCORES


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
    drawn = draw("uniform" if which == "uniform" else "comb", scores_N, chosen, phase=0.5)
    assert drawn.tolist() == [uniform_indices(len(scores_N), chosen.frames).tolist()]


def test_5_holds_for_every_small_count():
    for count in range(1, 200):
        for frames in (2, 6, 16, 32):
            chosen = SamplerSettings(frames=frames, variants=1)
            drawn = draw("comb", np.zeros(count, np.float32), chosen, phase=0.5)
            expected = (
                [int((k + 0.5) * count / frames) for k in range(frames)] if count > frames else range(count)
            )
            assert drawn[0].tolist() == list(expected)
