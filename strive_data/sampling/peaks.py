"""The comb with each frame replaced by the best-scoring frame of its own cell.

Our construction; the paper has no such step. π: density.py; comb: comb.py. A grid of C = `cells`
interleaved combs cuts the candidates into C·K cells of mass about 1/C, one around each point of the combs. A
variant at an offset is the comb of the grid that has this offset, with the best candidate of each cell. So a
variant depends on its offset alone: it is the same kind of view for any number M of variants.

Kept: K distinct frames; interleaved variants, disjoint for κ = 1/C if M divides C; uniform for flat scores;
coverage, a gap is at most 1 + 3/(2C) times the comb's bound. Given up: that the frequency over φ is π_i.
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
    cells: int = 0,
    order_N: Indices | None = None,
) -> Indices:
    """Best candidate of each cell, int32 [M, min(K, N)]; `order_N` as for `comb`, `cells` 0: M.

    Variant m has the offset (m + φ)/M. It is row ⌊C·(m + φ)/M⌋ of the grid whose φ is the rest.
    """
    if pi_N.size <= frames:
        return np.tile(np.arange(pi_N.size, dtype=np.int32), (variants, 1))
    if order_N is not None:
        pi_N, scores_N = pi_N[order_N], scores_N[order_N]
    if cells in (0, variants):
        places_MK = grid_peaks(pi_N, scores_N, frames=frames, cells=variants, offset=offset)
    else:
        rows = []
        for place in (np.arange(variants) + offset) / variants * cells:
            row = min(int(place), cells - 1)
            grid = grid_peaks(pi_N, scores_N, frames=frames, cells=cells, offset=float(place) - row)
            rows.append(grid[row])
        places_MK = np.stack(rows)
    return places_MK if order_N is None else np.sort(order_N[places_MK].astype(np.int32), axis=-1)


def grid_peaks(
    pi_N: Float64s, scores_N: Floats | Float64s, *, frames: int, cells: int, offset: float
) -> Indices:
    """The C rows of one grid, int32 [C, K]; N > K.

    Cell j = k·C + c of row c holds the candidates whose middle of mass is nearest to the comb's point
    (j + φ)/C, and the one that the comb takes there; a candidate that the comb takes is in no other cell. Of
    equal scores the nearest to the comb's one is taken.
    """
    met_CK = comb_points(pi_N, frames=frames, variants=cells, offset=offset)
    met_J = met_CK.T.ravel()
    middles_N = np.cumsum(pi_N) - pi_N / 2
    nearest_N = np.floor(middles_N * cells - offset + 0.5).astype(np.int64)
    others = np.delete(np.arange(pi_N.size), met_J)
    # Several points may meet a candidate of much mass: it is in the cell of each.
    candidates = np.concatenate([met_J, others])
    cell_of = np.concatenate([np.arange(met_J.size), np.clip(nearest_N[others], 0, met_J.size - 1)])
    away = np.abs(candidates - met_J[cell_of])
    ranked = np.lexsort((away, -scores_N[candidates], cell_of))
    _, firsts = np.unique(cell_of[ranked], return_index=True)
    taken_J = candidates[ranked[firsts]]
    return distinct(taken_J.reshape(frames, cells).T, pi_N.size)


def peaks_variants(
    scores_N: Floats | Float64s,
    settings: SamplerSettings,
    offset: float,
    pi_N: Float64s | None = None,
    order_N: Indices | None = None,
) -> Indices:
    """Peaks over the inclusion of the scores (`pi_N` where it is known), int32 [M, min(K, N)]."""
    return peaks(
        inclusion_of(scores_N, settings) if pi_N is None else pi_N,
        scores_N,
        frames=settings.frames,
        variants=settings.variants,
        offset=offset,
        cells=settings.peaks_cells,
        order_N=order_N,
    )
