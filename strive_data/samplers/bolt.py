"""Inverse-transform sampling of sharpened scores at a regular grid, after BOLT. A baseline.

Its M variants are identical.
"""

from __future__ import annotations

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.samplers.comb import distinct
from strive_data.samplers.uniform import uniform_indices
from strive_data.schema import Floats, Indices


def bolt_variants(scores_N: Floats, settings: SamplerSettings, phase: float) -> Indices:
    """The first i with C_i > (k+1)/(K+1), C the running share of ((s−min)/(max−min))^p; int32 [M, min(K, N)].

    p = `bolt_power`. A frame met twice gives way to its next neighbour, so that K frames are distinct. Flat
    scores: uniform.
    """
    count, frames = len(scores_N), settings.frames
    scores = scores_N.astype(np.float64)
    low, high = scores.min(), scores.max()
    if count <= frames or low == high:
        return np.tile(uniform_indices(count, frames), (settings.variants, 1))
    share_N = np.cumsum(((scores - low) / (high - low)) ** settings.bolt_power)
    grid_K = (np.arange(frames) + 1) / (frames + 1)
    row_K = distinct(np.searchsorted(share_N, grid_K * share_N[-1], side="right"), count)
    return np.tile(row_K, (settings.variants, 1))
