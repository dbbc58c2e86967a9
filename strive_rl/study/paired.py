"""Accuracies of arms by seed → what each arm gains over the baseline, seed by seed. Pure.

Two runs of one seed see the same questions in the same order, so their difference varies less than either.
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
class Comparison:
    """One arm: its accuracy, and over the seeds that the baseline has too, its gain (None for the baseline
    itself, and without a common seed)."""

    arm: str
    accuracy: Mean | None
    gain: Mean | None


def comparisons(by_arm: Mapping[str, Accuracies], baseline: str) -> list[Comparison]:
    """Comparisons of all arms in their order; each arm maps seeds to accuracies, and may lack some."""
    base = by_arm[baseline]
    return [
        Comparison(
            arm=arm,
            accuracy=mean_of(list(values.values())),
            gain=None if arm == baseline else mean_of([values[s] - base[s] for s in values if s in base]),
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
