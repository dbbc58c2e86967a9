"""95 % intervals by a bootstrap over videos: the questions of one video are no independent draws. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES_PER_CHUNK = 500
PERCENTILES = (2.5, 97.5)


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
    low, high = None, None
    if len(names) > 1:
        means = _resampled(sums_V, counts_V, resamples, seed)
        low, high = (float(value) for value in np.percentile(means, PERCENTILES))
    return Estimate(mean=float(values.mean()), low=low, high=high, questions=len(values), videos=len(names))


def _resampled(
    sums_V: npt.NDArray[np.float64], counts_V: npt.NDArray[np.float64], resamples: int, seed: int
) -> npt.NDArray[np.float64]:
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, len(sums_V)], dtype=np.uint64)))
    means = []
    for start in range(0, resamples, RESAMPLES_PER_CHUNK):
        size = (min(RESAMPLES_PER_CHUNK, resamples - start), len(sums_V))
        drawn = generator.integers(0, len(sums_V), size=size)
        means.append(sums_V[drawn].sum(axis=1) / counts_V[drawn].sum(axis=1))
    return np.concatenate(means)
