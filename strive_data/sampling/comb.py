"""Systematic sampling with interleaved offsets: relevance with coverage.

Shapes: N candidates, M variants, K frames of a variant, Q samples. Indices are int32 and strictly increasing
within a variant. A video with N ≤ K candidates gives all N in every variant: nothing is padded or repeated.
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import numpy.typing as npt

from strive_data.config import SamplerSettings
from strive_data.sampling.density import Float64s, density, inclusion
from strive_data.schema import Floats, Indices

EVALUATION_OFFSET = 0.5


def comb_offset(seed: int, sample_id: str, epoch: int) -> float:
    """φ in [0, 1) for one epoch of one sample; the same on every machine, and needs no state.

    Philox keyed by a hash of (seed, sample id), its counter the epoch; raw bits, so that no change of
    numpy's distributions can move it. Evaluation uses φ = ½ instead.
    """
    key = int.from_bytes(sha256(f"{seed}\0{sample_id}".encode()).digest()[:16], "little")
    bits = np.random.Philox(key=key, counter=epoch).random_raw()
    return float(int(bits) >> 11) * 2.0**-53


# Keeps query points off the ends of the intervals, where the rounding of the running sum would decide.
NUDGE = 1e-9


def comb(
    pi_N: Float64s, *, frames: int, variants: int, offset: float, order_N: Indices | None = None
) -> Indices:
    """Systematic sampling with interleaved offsets, int32 [M, min(K, N)].

    Variant m takes, for k = 0..K−1, the first i with C_i > k + (m+φ)/M, C the running sum of `pi_N` (each in
    [0, 1], sum K). Over φ each i is taken with frequency π_i, and the M variants together use i either
    ⌊M·π_i⌋ or ⌈M·π_i⌉ times. `order_N`, a permutation of the candidates, is the order in which the comb
    goes through them (time where None); both statements above hold for any order.
    """
    if pi_N.size <= frames:
        return np.tile(np.arange(pi_N.size, dtype=np.int32), (variants, 1))
    ordered_N = pi_N if order_N is None else pi_N[order_N]
    places_MK = comb_points(ordered_N, frames=frames, variants=variants, offset=offset)
    return places_MK if order_N is None else np.sort(order_N[places_MK].astype(np.int32), axis=-1)


def comb_points(pi_N: Float64s, *, frames: int, variants: int, offset: float) -> Indices:
    """Where the strata's points meet the running sum of `pi_N`, int32 [M, K], rows increasing; N > K."""
    offset = min(offset, 1 - 2 * variants * NUDGE)
    offsets_M = (np.arange(variants) + offset) / variants + NUDGE
    points_MK = np.arange(frames) + offsets_M[:, None]
    # Two points can only share a frame of π = 1, by rounding.
    return distinct(np.searchsorted(np.cumsum(pi_N), points_MK, side="right"), pi_N.size)


def distinct(found_K: npt.NDArray[np.integer], count: int) -> Indices:
    """Strictly increasing places below `count` from places that do not decrease, int32 of the same shape.

    A repeated place moves on to the next one, and back from the end.
    """
    steps_K = np.arange(found_K.shape[-1])
    pushed_K = np.maximum.accumulate(found_K - steps_K, axis=-1) + steps_K
    return np.minimum(pushed_K, count - steps_K.size + steps_K).astype(np.int32)


def inclusion_of(scores_N: Floats | Float64s, settings: SamplerSettings) -> Float64s:
    """π of each candidate, the frequency over φ with which the comb takes it; float64 [..., N], sums to K."""
    p_N = density(scores_N, alpha=settings.alpha, epsilon=settings.epsilon)
    rows_N = p_N.reshape(-1, p_N.shape[-1])
    pi = [inclusion(row_N, frames=settings.frames, kappa=settings.kappa) for row_N in rows_N]
    return np.stack(pi).reshape(p_N.shape)


def comb_variants(
    scores_N: Floats | Float64s,
    settings: SamplerSettings,
    offset: float,
    pi_N: Float64s | None = None,
    order_N: Indices | None = None,
) -> Indices:
    """The comb over the inclusion of the scores (`pi_N` where it is known), int32 [M, min(K, N)]."""
    pi_N = inclusion_of(scores_N, settings) if pi_N is None else pi_N
    return comb(pi_N, frames=settings.frames, variants=settings.variants, offset=offset, order_N=order_N)
