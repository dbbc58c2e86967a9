"""Scores of the candidates → how often each should be taken → the frames of each variant: comb and peaks.

Shapes: N candidates, M variants, K frames of a variant, Q samples. All arithmetic of scores is float64;
`z_scores` and `density` also take many samples of equal length, [..., N]: each row as if it were alone.

The comb is systematic sampling with interleaved offsets: relevance with coverage. Indices are int32 and
strictly increasing within a variant. A video with N ≤ K candidates gives all N in every variant: nothing is
padded or repeated.

`peaks` is the comb with each frame replaced by the best-scoring frame of its own cell: our construction, the
paper has no such step. A grid of C = `cells` interleaved combs cuts the candidates into C·K cells of mass
about 1/C, one around each point of the combs. A variant at an offset is the comb of the grid that has this
offset, with the best candidate of each cell. So a variant depends on its offset alone: it is the same kind of
view for any number M of variants. Kept: K distinct frames; interleaved variants, disjoint for κ = 1/C if M
divides C; uniform for flat scores; coverage, a gap is at most 1 + 3/(2C) times the comb's bound. Given up:
that the frequency over φ is π_i.
"""

from __future__ import annotations

import math
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from strive_data.config import SamplerSettings
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Floats, Indices

Float64s = npt.NDArray[np.float64]

Z_LIMIT = 5.0
MAD_TO_STD = 1.4826
# Temperatures searched, in units of z. Score differences below the lower one count as ties.
LOG_TAU_RANGE = (math.log(1e-12), math.log(1e12))
BISECTIONS = 64
# Shares below this part of the largest are lifted to it in water-filling: keeps the scale finite.
RELATIVE_FLOOR = 1e-12


def finite(scores_N: npt.ArrayLike) -> Float64s:
    """The scores as float64 [..., N]. Raises SampleError (score_failed) for NaN, infinities, none at all."""
    scores = np.asarray(scores_N, dtype=np.float64)
    if scores.ndim == 0 or scores.size == 0:
        raise SampleError(FailureKind.SCORE_FAILED, f"scores of shape {scores.shape}, expected [N], N ≥ 1")
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise SampleError(FailureKind.SCORE_FAILED, f"{bad.size} scores are not finite, first: {bad[0]}")
    return scores


def z_scores(scores_N: npt.ArrayLike) -> Float64s:
    """Robust z of each score, float64 [N] in [-5, 5]: (s − median)/(1.4826·MAD), clipped.

    Where MAD is 0 (more than half of the scores tie) the standard deviation is used; equal scores give 0.
    Raises SampleError (score_failed) for a score that is NaN or infinite, or for no scores at all.
    """
    scores = finite(scores_N)
    # Equality is compared directly: the standard deviation of equal numbers can be 1e-17.
    flat = scores.min(axis=-1, keepdims=True) == scores.max(axis=-1, keepdims=True)
    deviations = scores - np.median(scores, axis=-1, keepdims=True)
    z_N: Float64s = np.clip(deviations / np.where(flat, 1, spread(scores)), -Z_LIMIT, Z_LIMIT)
    return np.where(flat, 0.0, z_N)


def spread(scores_N: Float64s) -> Float64s:
    """One z in units of the scores, float64 [..., 1]: 1.4826·MAD, the standard deviation where that is 0."""
    deviations = np.abs(scores_N - np.median(scores_N, axis=-1, keepdims=True))
    scale = MAD_TO_STD * np.median(deviations, axis=-1, keepdims=True)
    spread_N: Float64s = np.where(scale > 0, scale, scores_N.std(axis=-1, keepdims=True))
    return spread_N


def density(scores_N: npt.ArrayLike, *, alpha: float, epsilon: float) -> Float64s:
    """Share of attention of each candidate, p = (1−ε)·softmax(z/τ) + ε·u, u = 1/N, float64 [N] with sum 1.

    τ is set so that exp(entropy(softmax(z/τ))) = α·N: `alpha` in (0, 1] means the same for every scorer.
    Limits: α = 1 gives u; where n maxima tie and α·N ≤ n, no τ reaches α·N and the limit τ → 0 is taken,
    the uniform distribution over those n. Raises SampleError as `z_scores` does.
    """
    z = z_scores(scores_N)
    count = z.shape[-1]
    u = np.full(z.shape, 1 / count)
    if alpha >= 1:
        return u
    return (1 - epsilon) * _tempered(z, target_entropy=math.log(alpha * count)) + epsilon * u


def inclusion(p_N: Float64s, *, frames: int, kappa: float) -> Float64s:
    """Probability of each candidate to be in a variant, π = min(κ, c·p), float64 [N] with sum `frames`.

    Water-filling: one sort. N ≤ frames gives 1 for all. κ below frames/N cannot hold `frames` frames, so the
    bound is max(κ, frames/N): short videos thus share frames between variants even where
    κ asks for disjoint ones.
    """
    if p_N.size <= frames:
        return np.ones(p_N.size)
    cap = max(kappa, frames / p_N.size)
    p = np.maximum(p_N, RELATIVE_FLOOR * p_N.max())
    order_N = np.sort(p)[::-1]
    rest_N = np.cumsum(order_N[::-1])[::-1]
    left_N = frames - cap * np.arange(p.size)
    # The first j for which the j largest at the cap leave a scale that lifts no other above it.
    scale_N = left_N / rest_N
    fits = np.flatnonzero(scale_N * order_N <= cap * (1 + 1e-12))
    pi_N: Float64s = np.minimum(cap, scale_N[fits[0]] * p)
    return pi_N


def _tempered(z_N: Float64s, *, target_entropy: float) -> Float64s:
    """softmax(z/τ) with the given entropy in nats, by bisection: the entropy grows with τ."""
    below_N = z_N - z_N.max(axis=-1, keepdims=True)
    low, high = (np.full((*z_N.shape[:-1], 1), bound) for bound in LOG_TAU_RANGE)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        too_low = _entropy(below_N / np.exp(middle)) < target_entropy
        low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
    weights_N = np.exp(below_N / np.exp(high))
    q_N: Float64s = weights_N / weights_N.sum(axis=-1, keepdims=True)
    return q_N


def _entropy(logits_N: Float64s) -> Float64s:
    """Entropy in nats, [..., 1], of softmax(logits) whose largest logit is 0: log Z − Σ q·logit."""
    weights_N = np.exp(logits_N)
    total = weights_N.sum(axis=-1, keepdims=True)
    entropy: Float64s = np.log(total) - (weights_N * logits_N).sum(axis=-1, keepdims=True) / total
    return entropy


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


def comb_or_peaks(
    name: str,
    pi_N: Float64s,
    scores_N: Floats | Float64s,
    settings: SamplerSettings,
    offset: float,
    order_N: Indices | None = None,
) -> Indices:
    """The sampler called "comb" or "peaks" over the inclusion of the scores, int32 [M, min(K, N)]."""
    frames, variants, cells = settings.frames, settings.variants, settings.peaks_cells
    if name == "comb":
        return comb(pi_N, frames=frames, variants=variants, offset=offset, order_N=order_N)
    return peaks(
        pi_N, scores_N, frames=frames, variants=variants, offset=offset, cells=cells, order_N=order_N
    )
