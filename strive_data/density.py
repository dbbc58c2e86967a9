"""Scores of the candidates → how often each should be taken (METHOD.md section 4).

Shapes: N candidates. All arithmetic is float64; nothing here knows of variants, files or models.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from strive_data.errors import FailureKind, SampleError

Float64s = npt.NDArray[np.float64]

Z_LIMIT = 5.0
MAD_TO_STD = 1.4826
# Temperatures searched, in units of z. Score differences below the lower one count as ties.
LOG_TAU_RANGE = (math.log(1e-12), math.log(1e12))
BISECTIONS = 100
# Shares below this part of the largest are lifted to it in water-filling: keeps the scale finite.
RELATIVE_FLOOR = 1e-12


def z_scores(scores_N: npt.ArrayLike) -> Float64s:
    """Robust z of each score, float64 [N] in [-5, 5]: (s − median)/(1.4826·MAD), clipped.

    Where MAD is 0 (more than half of the scores tie) the standard deviation stands in; equal scores give 0.
    Raises SampleError (score_failed) for a score that is NaN or infinite, or for no scores at all.
    """
    scores = np.asarray(scores_N, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise SampleError(FailureKind.SCORE_FAILED, f"scores of shape {scores.shape}, expected [N], N ≥ 1")
    bad = np.flatnonzero(~np.isfinite(scores))
    if bad.size:
        raise SampleError(FailureKind.SCORE_FAILED, f"{bad.size} scores are not finite, first: {bad[0]}")
    # Equality is asked for directly: the standard deviation of equal numbers can be 1e-17.
    if scores.min() == scores.max():
        return np.zeros_like(scores)
    deviations = scores - np.median(scores)
    scale = MAD_TO_STD * np.median(np.abs(deviations)) or scores.std()
    z_N: Float64s = np.clip(deviations / scale, -Z_LIMIT, Z_LIMIT)
    return z_N


def density(
    scores_N: npt.ArrayLike, *, alpha: float, epsilon: float, base_N: Float64s | None = None
) -> Float64s:
    """Share of attention of each candidate, p = (1−ε)·softmax(z/τ) + ε·u, float64 [N] with sum 1.

    τ is set so that exp(entropy(softmax(z/τ))) = α·N: `alpha` in (0, 1] means the same for every scorer.
    Limits: α = 1 gives u; where n maxima tie and α·N ≤ n, no τ reaches α·N and the limit τ → 0 is taken,
    the uniform distribution over those n. `base_N`: u, the share of time that each candidate stands for
    (any positive scale); uniform where None. Raises SampleError as `z_scores` does.
    """
    z = z_scores(scores_N)
    u = np.full(z.size, 1 / z.size) if base_N is None else base_N / base_N.sum()
    if alpha >= 1:
        return u
    return (1 - epsilon) * _tempered(z, target_entropy=math.log(alpha * z.size)) + epsilon * u


def inclusion(p_N: Float64s, *, frames: int, kappa: float) -> Float64s:
    """Probability of each candidate to be in a variant, π = min(κ, c·p), float64 [N] with sum `frames`.

    Water-filling: one sort. N ≤ frames gives 1 for all. κ below frames/N cannot hold `frames` frames, so the
    bound is max(κ, frames/N), METHOD.md's range: short videos thus share frames between variants even where
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
    if z_N.min() == z_N.max():
        return np.full(z_N.size, 1 / z_N.size)
    low, high = LOG_TAU_RANGE
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if _entropy(_softmax(z_N / math.exp(middle))) < target_entropy:
            low = middle
        else:
            high = middle
    return _softmax(z_N / math.exp(high))


def _softmax(logits_N: Float64s) -> Float64s:
    weights = np.exp(logits_N - logits_N.max())
    q_N: Float64s = weights / weights.sum()
    return q_N


def _entropy(q_N: Float64s) -> float:
    positive = q_N[q_N > 0]
    return float(-(positive * np.log(positive)).sum())
