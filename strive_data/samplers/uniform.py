"""Frames at even spacing, whatever the scores: the control of every comparison."""

from __future__ import annotations

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.density import inclusion
from strive_data.samplers.comb import comb
from strive_data.schema import Floats, Indices


def uniform_indices(count: int, frames: int) -> Indices:
    """Midpoint-uniform sampling ⌊(k+½)·N/K⌋, int32 [min(K, N)]: the control of every comparison."""
    if count <= frames:
        return np.arange(count, dtype=np.int32)
    return ((2 * np.arange(frames, dtype=np.int64) + 1) * count // (2 * frames)).astype(np.int32)


def uniform_variants(scores_N: Floats, settings: SamplerSettings, phase: float) -> Indices:
    """Interleaved combs over equal shares, int32 [M, min(K, N)]. M = 1 and φ = ½: `uniform_indices`."""
    flat_N = np.full(len(scores_N), 1 / len(scores_N))
    pi_N = inclusion(flat_N, frames=settings.frames, kappa=1.0)
    return comb(pi_N, frames=settings.frames, variants=settings.variants, phase=phase)
