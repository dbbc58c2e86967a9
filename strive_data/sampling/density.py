"""Scores of the candidates → how often each should be taken.

Shapes: N candidates. All arithmetic is float64; nothing here knows of variants, files or models.
`z_scores` and `density` also take many samples of equal length, [..., N]: each row as if it were alone.
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
    count = z.shape[-1]
    u = np.full(z.shape, 1 / count) if base_N is None else np.broadcast_to(base_N / base_N.sum(), z.shape)
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
