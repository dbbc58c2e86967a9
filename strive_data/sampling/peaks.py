"""The comb with each stratum set on the best frame of its own cell.

Our construction; the paper has no such step. π and comb are those of METHOD.md section 4. The M·K strata of
all variants cut the video into as many cells of mass about 1/M; a stratum takes the best-scoring candidate of
its cell, where the comb takes the one it meets.
Kept: K distinct frames; variants interleaved, and disjoint for κ = 1/M; uniform for flat scores and M = 1;
coverage, a gap is at most 1 + 3/(2M) times the comb's bound. Given up: that the frequency over φ is π_i.
"""

from __future__ import annotations

import numpy as np

from strive_data.config import SamplerSettings
from strive_data.sampling.comb import comb_points, distinct, inclusion_of
from strive_data.sampling.density import Float64s
from strive_data.schema import Floats, Indices


def peaks(
    pi_N: Float64s,
    scores_N: Floats | Float64s,
    *,
    frames: int,
    variants: int,
    offset: float,
    order_N: Indices | None = None,
) -> Indices:
    """Best candidate of each cell, int32 [M, min(K, N)]; `order_N` as for `comb`.

    Cell j = k·M + m of variant m holds the candidates whose middle of mass is nearest to the comb's point
    (j + φ)/M, and the one that the comb takes there; a candidate that the comb takes stands in no other cell.
    Of equal scores the nearest to the comb's one is taken.
    """
    if pi_N.size <= frames:
        return np.tile(np.arange(pi_N.size, dtype=np.int32), (variants, 1))
    if order_N is not None:
        pi_N, scores_N = pi_N[order_N], scores_N[order_N]
    met_MK = comb_points(pi_N, frames=frames, variants=variants, offset=offset)
    met_J = met_MK.T.ravel()
    middles_N = np.cumsum(pi_N) - pi_N / 2
    nearest_N = np.floor(middles_N * variants - offset + 0.5).astype(np.int64)
    others = np.delete(np.arange(pi_N.size), met_J)
    # A candidate of much mass is met by several strata: it stands in the cell of each.
    candidates = np.concatenate([met_J, others])
    cells = np.concatenate([np.arange(met_J.size), np.clip(nearest_N[others], 0, met_J.size - 1)])
    away = np.abs(candidates - met_J[cells])
    ranked = np.lexsort((away, -scores_N[candidates], cells))
    _, firsts = np.unique(cells[ranked], return_index=True)
    taken_J = candidates[ranked[firsts]]
    places_MK = distinct(taken_J.reshape(frames, variants).T, pi_N.size)
    return places_MK if order_N is None else np.sort(order_N[places_MK].astype(np.int32), axis=-1)


def peaks_variants(
    scores_N: Floats | Float64s, settings: SamplerSettings, offset: float, order_N: Indices | None = None
) -> Indices:
    """Peaks over the inclusion of the scores, int32 [M, min(K, N)]."""
    return _peaks(inclusion_of(scores_N, settings), scores_N, settings, offset, order_N)


def peaks_rows(scores_QN: Floats | Float64s, settings: SamplerSettings, offsets_Q: Float64s) -> Indices:
    """`peaks_variants` of many samples of equal length, int32 [Q, M, min(K, N)]."""
    rows = zip(inclusion_of(scores_QN, settings), scores_QN, offsets_Q, strict=True)
    return np.stack([_peaks(pi_N, scores_N, settings, float(at), None) for pi_N, scores_N, at in rows])


def _peaks(
    pi_N: Float64s,
    scores_N: Floats | Float64s,
    settings: SamplerSettings,
    offset: float,
    order_N: Indices | None,
) -> Indices:
    return peaks(
        pi_N,
        scores_N,
        frames=settings.frames,
        variants=settings.variants,
        offset=offset,
        order_N=order_N,
    )
