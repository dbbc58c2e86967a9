"""Scores and settings that samplers must survive: flat, spiky, heavy-tailed, tied, tiny."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strive_data.config import SamplerSettings

HEAVY = st.floats(-(2.0**100), 2.0**100, width=32)
ORDINARY = st.floats(-1, 1, width=32)
TIED = st.sampled_from([0.0, 1.0])
SPIKY = st.sampled_from([0.0, 0.0, 0.0, 0.0, 1e6])
FLAT = st.just(0.1)
SCORES = st.one_of(
    hnp.arrays(np.float32, st.integers(1, 90), elements=e) for e in (HEAVY, ORDINARY, TIED, SPIKY, FLAT)
)
# Whole numbers: scaling by 4 and adding 7 rounds nothing.
WHOLE_SCORES = hnp.arrays(np.float64, st.integers(1, 60), elements=st.integers(-99, 99).map(float))
OFFSETS = st.floats(0, 1, exclude_max=True)


@st.composite
def settings(draw, disjoint=None):
    variants = draw(st.integers(1, 5))
    share = 0.0 if disjoint else draw(st.sampled_from([0.0, 0.3, 1.0]))
    return SamplerSettings(
        frames=2 * draw(st.integers(1, 20)),
        variants=variants,
        alpha=draw(st.sampled_from([0.02, 0.3, 0.6, 1.0])),
        epsilon=draw(st.sampled_from([0.05, 0.5, 1.0])),
        kappa=1 / variants + share * (1 - 1 / variants),
    )
