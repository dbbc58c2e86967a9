"""Scores of the candidates → the frames of each variant (METHOD.md section 4).

Shapes: N candidates, M variants, K frames of a variant. Indices are int32 and strictly increasing within a
variant. A video with N ≤ K candidates gives all N in every variant: nothing is padded or repeated here.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.density import Float64s, density, inclusion
from strive_data.schema import Floats, Indices
from strive_data.settings import choose

Sampler = Callable[[Floats, SamplerSettings, float], Indices]

EVALUATION_PHASE = 0.5
# Keeps query points off the ends of the intervals, where the rounding of the running sum would decide.
NUDGE = 1e-9


def phase(seed: int, sample_id: str, epoch: int) -> float:
    """φ in [0, 1) for one epoch of one sample; the same on every machine, and needs no state.

    Philox keyed by a hash of (seed, sample id), its counter the epoch; raw bits, so that no change of
    numpy's distributions can move it. Evaluation uses φ = ½ instead.
    """
    key = int.from_bytes(sha256(f"{seed}\0{sample_id}".encode()).digest()[:16], "little")
    bits = np.random.Philox(key=key, counter=epoch).random_raw()
    return float(int(bits) >> 11) * 2.0**-53


def comb(pi_N: Float64s, *, frames: int, variants: int, phase: float) -> Indices:
    """Systematic sampling with interleaved phases, int32 [M, min(K, N)].

    Variant m takes, for k = 0..K−1, the first i with C_i > k + (m+φ)/M, C the running sum of `pi_N` (each in
    [0, 1], sum K). Over φ each i is taken with frequency π_i, and the M variants together use i either
    ⌊M·π_i⌋ or ⌈M·π_i⌉ times.
    """
    if pi_N.size <= frames:
        return np.tile(np.arange(pi_N.size, dtype=np.int32), (variants, 1))
    phase = min(phase, 1 - 2 * variants * NUDGE)
    offsets_M = (np.arange(variants) + phase) / variants + NUDGE
    steps_K = np.arange(frames)
    found_MK = np.searchsorted(np.cumsum(pi_N), steps_K + offsets_M[:, None], side="right")
    # Two points can only share a frame of π = 1, by rounding; pushing the second on keeps K distinct frames.
    pushed_MK = np.maximum.accumulate(found_MK - steps_K, axis=1) + steps_K
    return np.minimum(pushed_MK, pi_N.size - frames + steps_K).astype(np.int32)


def uniform_indices(count: int, frames: int) -> Indices:
    """Midpoint-uniform sampling ⌊(k+½)·N/K⌋, int32 [min(K, N)]: the control of every comparison."""
    if count <= frames:
        return np.arange(count, dtype=np.int32)
    return ((2 * np.arange(frames, dtype=np.int64) + 1) * count // (2 * frames)).astype(np.int32)


def draw(name: str, scores_N: Floats, settings: SamplerSettings, *, phase: float) -> Indices:
    """Variants of one sample by the sampler called `name`, int32 [M, min(K, N)], rows strictly increasing.

    Deterministic in its arguments. Raises SettingsError for an unknown name and SampleError (score_failed)
    for scores that are not finite.
    """
    return SAMPLERS[choose(name, SAMPLERS, "sampler")](scores_N, settings, phase)


def _comb(scores_N: Floats, settings: SamplerSettings, phase: float) -> Indices:
    p_N = density(scores_N, alpha=settings.alpha, epsilon=settings.epsilon)
    pi_N = inclusion(p_N, frames=settings.frames, kappa=settings.kappa)
    return comb(pi_N, frames=settings.frames, variants=settings.variants, phase=phase)


def _uniform(scores_N: Floats, settings: SamplerSettings, phase: float) -> Indices:
    """Even spacing whatever the scores; the M variants interleave. M = 1 and φ = ½: `uniform_indices`."""
    flat_N = np.full(len(scores_N), 1 / len(scores_N))
    pi_N = inclusion(flat_N, frames=settings.frames, kappa=1.0)
    return comb(pi_N, frames=settings.frames, variants=settings.variants, phase=phase)


SAMPLERS: dict[str, Sampler] = {"comb": _comb, "uniform": _uniform}
