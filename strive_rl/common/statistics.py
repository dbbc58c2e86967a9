"""Means with 95 % intervals by a bootstrap over videos (questions of one video are no independent draws), and
an exact sign test (McNemar's, for answers that are right or wrong). Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESAMPLES_PER_CHUNK = 500
PERCENTILES = (2.5, 97.5)
Z_95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over `questions` of `videos`, with its 95 % interval; no interval where there is one video."""

    mean: float
    low: float | None
    high: float | None
    questions: int
    videos: int


def estimate(
    values_N: npt.ArrayLike, videos_N: Sequence[str], *, resamples: int, seed: int
) -> Estimate | None:
    """Mean of the values and its percentile interval; None where there is no value.

    Whole videos are drawn with replacement, as many as there are; the statistic is the mean over the
    questions of those drawn.
    """
    values = np.asarray(values_N, dtype=np.float64)
    if not len(values):
        return None
    names, owner_N = np.unique(np.asarray(videos_N), return_inverse=True)
    sums_V = np.bincount(owner_N, weights=values).astype(np.float64)
    counts_V = np.bincount(owner_N).astype(np.float64)
    means = _resampled(sums_V, counts_V, resamples, seed) if len(names) > 1 else None
    return _estimate(float(values.mean()), means, len(values), len(names))


def _estimate(mean: float, resampled: Floats | None, questions: int, videos: int) -> Estimate:
    ends = [None, None] if resampled is None else np.percentile(resampled, PERCENTILES).tolist()
    return Estimate(mean=mean, low=ends[0], high=ends[1], questions=questions, videos=videos)


def widened(made: Estimate | None, *, difference: bool = False) -> Estimate | None:
    """The estimate, with another interval where every resample has one mean: equal answers are no certainty.

    Of values from 0 to 1, as of answers that are all right, it is Wilson's for as many independent draws as
    there are videos. Of differences from -1 to 1 it is what remains possible if a share w of all videos were
    unlike those seen: (1 - w)·mean ± w, w the upper end of Wilson's interval of 0 of these draws. For values
    that are all 0 or all 1 the two are one formula.
    """
    if made is None or made.low is None or made.low != made.high:
        return made
    low, high = wilson(made.mean, made.videos)
    if difference:
        other = wilson(0.0, made.videos)[1]
        low, high = ((1 - other) * made.mean + sign * other for sign in (-1, 1))
    return replace(made, low=low, high=high)


def wilson(share: float, draws: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share: centre (p + z²/2n)/(1 + z²/n), half width
    z·√(p(1 − p)/n + z²/4n²)/(1 + z²/n) with z = 1.96 (Wilson 1927)."""
    square = Z_95**2 / draws
    centre = (share + square / 2) / (1 + square)
    half = Z_95 * math.sqrt(share * (1 - share) / draws + square / (4 * draws)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)


def macro_estimate(
    values_N: npt.ArrayLike,
    videos_N: Sequence[str],
    strata_N: Sequence[tuple[str, str]],
    *,
    resamples: int,
    seed: int,
) -> Estimate | None:
    """Mean over tasks of the mean over their parts of the mean over their questions, with its interval.

    `strata_N` are (task, part). A resample without a question of some part averages over those it has.
    None where there is no value.
    """
    values = np.asarray(values_N, dtype=np.float64)
    if not len(values):
        return None
    names, owner_N = np.unique(np.asarray(videos_N), return_inverse=True)
    parts = sorted(set(strata_N))
    part_N = np.array([parts.index(stratum) for stratum in strata_N])
    sums_VP, counts_VP = np.zeros((2, len(names), len(parts)))
    np.add.at(sums_VP, (owner_N, part_N), values)
    np.add.at(counts_VP, (owner_N, part_N), 1)
    tasks = sorted({task for task, _ in parts})
    member_PT = np.array([[task == own for task in tasks] for own, _ in parts], dtype=np.float64)
    mean = float(_macro(sums_VP.sum(0, keepdims=True), counts_VP.sum(0, keepdims=True), member_PT)[0])
    means = None
    if len(names) > 1:
        generator = np.random.Generator(np.random.Philox(key=np.array([seed, len(names)], dtype=np.uint64)))
        share = np.full(len(names), 1 / len(names))
        drawn_RV = generator.multinomial(len(names), share, size=resamples).astype(np.float64)
        means = _macro(drawn_RV @ sums_VP, drawn_RV @ counts_VP, member_PT)
    return _estimate(mean, means, len(values), len(names))


def _macro(sums_RP: Floats, counts_RP: Floats, member_PT: Floats) -> Floats:
    """Nested means [R] from the sums and counts of parts; parts and tasks without a question are left out."""
    means_RP = sums_RP / np.maximum(counts_RP, 1)
    parts_RT = (counts_RP > 0).astype(np.float64) @ member_PT
    means_RT = (means_RP * (counts_RP > 0)) @ member_PT / np.maximum(parts_RT, 1)
    macro: Floats = means_RT.sum(axis=1) / np.maximum((parts_RT > 0).sum(axis=1), 1)
    return macro


def _resampled(sums_V: Floats, counts_V: Floats, resamples: int, seed: int) -> Floats:
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, len(sums_V)], dtype=np.uint64)))
    means = []
    for start in range(0, resamples, RESAMPLES_PER_CHUNK):
        size = (min(RESAMPLES_PER_CHUNK, resamples - start), len(sums_V))
        drawn = generator.integers(0, len(sums_V), size=size)
        means.append(sums_V[drawn].sum(axis=1) / counts_V[drawn].sum(axis=1))
    return np.concatenate(means)


@dataclass(frozen=True, kw_only=True)
class SignTest:
    """How often the second was better, worse and as good, and how likely so uneven a split is by chance."""

    won: int
    lost: int
    tied: int
    p: float


def sign_test(differences: Iterable[float]) -> SignTest:
    """Two-sided exact test that gains and losses are equally likely; ties say nothing.

    p = min(1, 2·Σ_{k ≤ min(won, lost)} C(n, k)/2^n) with n = won + lost; 1 where n = 0. It takes the
    differences as independent.
    """
    values = list(differences)
    won, lost = sum(value > 0 for value in values), sum(value < 0 for value in values)
    n = won + lost
    term = tail = 1
    for k in range(min(won, lost)):
        term = term * (n - k) // (k + 1)  # C(n, k + 1)
        tail += term
    return SignTest(
        won=won, lost=lost, tied=len(values) - n, p=float(min(Fraction(2 * tail, 2**n), Fraction(1)))
    )
