"""Accuracies of arms by seed → what each arm gains over the baseline, seed by seed. Pure.

Two runs of one seed see the same questions in the same order, so their difference varies less than either.
Intervals and p-values are those of the paired t-test: they take the differences as normal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Accuracies = Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over `count` seeds, and its standard error s/√n (None of a single one)."""

    mean: float
    error: float | None
    count: int


@dataclass(frozen=True, kw_only=True)
class Gain(Mean):
    """A mean difference with its 95 % interval and the two-sided p-value that the true one is 0; None of a
    single seed."""

    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm: its accuracy, and over the seeds that the baseline has too, its gain (None for the baseline
    itself, and without a common seed)."""

    arm: str
    accuracy: Mean | None
    gain: Gain | None


def comparisons(by_arm: Mapping[str, Accuracies], baseline: str) -> list[Comparison]:
    """Comparisons of all arms in their order; each arm maps seeds to accuracies, and may lack some."""
    base = by_arm[baseline]
    return [
        Comparison(
            arm=arm,
            accuracy=mean_of(list(values.values())),
            gain=None if arm == baseline else gain_of([values[s] - base[s] for s in values if s in base]),
        )
        for arm, values in by_arm.items()
    ]


def mean_of(values: Sequence[float]) -> Mean | None:
    """Mean and standard error; None without values."""
    count = len(values)
    if not count:
        return None
    mean = sum(values) / count
    if count == 1:
        return Mean(mean=mean, error=None, count=1)
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    return Mean(mean=mean, error=math.sqrt(variance / count), count=count)


def gain_of(differences: Sequence[float]) -> Gain | None:
    """Mean difference, its interval and p-value; None without differences."""
    made = mean_of(differences)
    if made is None:
        return None
    if made.error is None:
        return Gain(**vars(made), low=None, high=None, p=None)
    half = made.error * t_quantile(made.count - 1)
    p = _p_value(made.mean, made.error, made.count - 1)
    return Gain(**vars(made), low=made.mean - half, high=made.mean + half, p=p)


def t_within(t: float, freedom: int) -> float:
    """P(|T| ≤ t) of Student's distribution with a whole number of degrees of freedom, t ≥ 0.

    The finite sums of Abramowitz & Stegun, 26.7.3 (odd) and 26.7.4 (even).
    """
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for place in range(freedom // 2):
        total += term
        step = 2 * place + 1 + odd
        term *= cosine**2 * step / (step + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def t_quantile(freedom: int, share: float = 0.95) -> float:
    """The t with P(|T| ≤ t) = share, by bisection."""
    low, high = 0.0, 1.0
    while t_within(high, freedom) < share:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if t_within(middle, freedom) < share else (low, middle)
    return high


def _p_value(mean: float, error: float, freedom: int) -> float:
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return 1 - t_within(abs(mean) / error, freedom)
