"""Top-K of noisy scores: K draws without replacement from softmax(z/τ). A baseline."""

from __future__ import annotations

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.density import Float64s, z_scores
from strive_data.samplers.topk import best
from strive_data.schema import Floats, Indices


def gumbel_variants(scores_N: Floats, settings: SamplerSettings, phase: float) -> Indices:
    """Best K of z/τ + Gumbel noise, τ = `gumbel_tau`; fresh noise for each variant, int32 [M, min(K, N)].

    The noise is keyed by φ alone, so that a phase decides everything, as it does for the other samplers.
    """
    return _noisy_best(z_scores(scores_N), settings, phase)


def gumbel_rows(scores_QN: Floats | Float64s, settings: SamplerSettings, phases_Q: Float64s) -> Indices:
    """`gumbel_variants` of many samples of equal length, int32 [Q, M, min(K, N)]."""
    pairs = zip(z_scores(scores_QN), phases_Q, strict=True)
    return np.stack([_noisy_best(z_N, settings, float(at)) for z_N, at in pairs])


def gumbel_noise(phase: float, count: int) -> Float64s:
    """Standard Gumbel draws −log(−log u), float64 [count]; raw Philox bits keyed by the 53 bits of φ."""
    bits = np.random.Philox(key=int(phase * 2**53)).random_raw(count)
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    noise: Float64s = -np.log(-np.log(uniform))
    return noise


def _noisy_best(z_N: Float64s, settings: SamplerSettings, phase: float) -> Indices:
    noise_MN = gumbel_noise(phase, settings.variants * z_N.size).reshape(settings.variants, -1)
    return np.stack([best(row_N, settings.frames) for row_N in z_N / settings.gumbel_tau + noise_MN])
