from __future__ import annotations

import numpy as np

from strive_data.samplers import phase

GOLDEN_PHASE = 0.28360119428186226


def test_6_phase_depends_on_seed_id_and_epoch_only():
    assert phase(0, "a", 0) == phase(0, "a", 0)
    assert len({phase(0, "a", 0), phase(1, "a", 0), phase(0, "b", 0), phase(0, "a", 1)}) == 4
    # (1, "1") and (11, "") must not share a key.
    assert phase(1, "1", 0) != phase(11, "", 0)


def test_phases_are_fixed_for_good_and_uniform():
    assert phase(0, "1", 0) == GOLDEN_PHASE
    drawn = np.array([phase(7, f"video-{i}", i % 3) for i in range(4000)])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts, _ = np.histogram(drawn, bins=10, range=(0, 1))
    # chi-square with 9 degrees of freedom: 27.9 at p = .001
    assert ((counts - 400) ** 2 / 400).sum() < 27.9
