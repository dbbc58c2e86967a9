"""Drawn frames against known moments, in numbers, with intervals over videos.

Shapes: Q cases of equal length, N candidates, M variants, K frames, R moments of all cases together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from strive_data.analysis.cases import Moment
from strive_data.sampling.density import Float64s
from strive_data.schema import Indices

TAILS = (0.025, 0.975)


class VideoBootstrap:
    """Resamples videos with replacement, all questions of a video together; the same draws for every value.

    Equal draws make two samplers' intervals comparable. Deterministic in `seed`.
    """

    def __init__(self, video_ids: Sequence[str], *, resamples: int, seed: int = 0) -> None:
        _, self._video_Q = np.unique(np.array(video_ids), return_inverse=True)
        self._videos = int(self._video_Q.max()) + 1
        picks = np.random.default_rng(seed).integers(self._videos, size=(resamples, self._videos))
        rows = picks + self._videos * np.arange(resamples)[:, None]
        counts = np.bincount(rows.ravel(), minlength=resamples * self._videos)
        self._weights_BV = counts.reshape(resamples, self._videos).astype(np.float64)

    def interval(self, values_Q: Float64s) -> tuple[float, float]:
        """Percentile interval of 95 % of the mean over questions; NaN in, NaN out."""
        sums_V = np.bincount(self._video_Q, weights=values_Q, minlength=self._videos)
        sizes_V = np.bincount(self._video_Q, minlength=self._videos)
        means_B = (self._weights_BV @ sums_V) / (self._weights_BV @ sizes_V)
        low, high = np.quantile(means_B, TAILS)
        return float(low), float(high)


METRICS = (
    "moment_recall",
    "hit_rate",
    "precision",
    "largest_gap",
    "worst_recall",
    "union_recall",
    "overlap",
)


def measure(drawn_QMK: Indices, moments: Sequence[Sequence[Moment]], count: int) -> dict[str, Float64s]:
    """Each metric for each case, float64 [Q] in [0, 1].

    moment_recall: share of the moments that a variant meets, mean over the variants; worst_recall: of the
    variant that meets fewest; union_recall: of all variants together. hit_rate: share of the variants that
    meet any moment. precision: share of the frames inside a moment. largest_gap: longest stretch of a variant
    between neighbouring frames, the ends of the video included, as a share of the video. overlap: share of
    the frames that two variants have in common, mean over the pairs; NaN for one variant.
    """
    chosen_QMN = np.zeros((*drawn_QMK.shape[:2], count), dtype=bool)
    np.put_along_axis(chosen_QMN, drawn_QMK.astype(np.int64), True, axis=2)
    met_RM, owner_R = _met(chosen_QMN, moments)
    recall_QM = _by_case(met_RM, owner_R)
    inside_QMK = np.take_along_axis(_inside(moments, count)[:, None], drawn_QMK.astype(np.int64), axis=2)
    return {
        "moment_recall": recall_QM.mean(axis=1),
        "hit_rate": (recall_QM > 0).mean(axis=1),
        "precision": inside_QMK.mean(axis=(1, 2)),
        "largest_gap": largest_gaps(drawn_QMK, count).mean(axis=1) / count,
        "worst_recall": recall_QM.min(axis=1),
        "union_recall": _by_case(np.max(met_RM, axis=1, keepdims=True), owner_R)[:, 0],
        "overlap": _overlap(chosen_QMN, drawn_QMK.shape[2]),
    }


def largest_gaps(drawn_QMK: Indices, count: int) -> npt.NDArray[np.int64]:
    """Longest step in candidates, int64 [Q, M], with a frame before the first and one after the last."""
    ends = ((0, 0), (0, 0), (1, 1))
    closed = np.pad(drawn_QMK.astype(np.int64), ends, constant_values=((0, 0), (0, 0), (-1, count)))
    steps: npt.NDArray[np.int64] = np.diff(closed, axis=2).max(axis=2)
    return steps


def _met(
    chosen_QMN: npt.NDArray[np.bool_], moments: Sequence[Sequence[Moment]]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Whether each variant of its case meets each moment, bool [R, M]; and the case of each moment, [R]."""
    owner_R = np.repeat(np.arange(len(moments)), [len(own) for own in moments])
    ranges_R2 = np.array([moment for own in moments for moment in own], dtype=np.int64).reshape(-1, 2)
    before_QMN = np.pad(np.cumsum(chosen_QMN, axis=2), ((0, 0), (0, 0), (1, 0)))
    start_R, end_R = ranges_R2.T
    return before_QMN[owner_R, :, end_R] > before_QMN[owner_R, :, start_R], owner_R


def _by_case(met_RM: npt.NDArray[np.bool_], owner_R: npt.NDArray[np.int64]) -> Float64s:
    """Mean over the moments of each case, float64 [Q, M]."""
    starts = np.flatnonzero(np.diff(owner_R, prepend=-1))
    sizes = np.diff(starts, append=owner_R.size)
    means: Float64s = np.add.reduceat(met_RM.astype(np.float64), starts, axis=0) / sizes[:, None]
    return means


def _inside(moments: Sequence[Sequence[Moment]], count: int) -> npt.NDArray[np.bool_]:
    """Whether each candidate lies in a moment, bool [Q, N]."""
    inside_QN = np.zeros((len(moments), count), dtype=bool)
    for row_N, own in zip(inside_QN, moments, strict=True):
        for start, end in own:
            row_N[start:end] = True
    return inside_QN


def _overlap(chosen_QMN: npt.NDArray[np.bool_], frames: int) -> Float64s:
    variants = chosen_QMN.shape[1]
    if variants == 1:
        return np.full(len(chosen_QMN), np.nan)
    uses_QN = chosen_QMN.sum(axis=1)
    shared_Q = (uses_QN * (uses_QN - 1) / 2).sum(axis=1)
    overlap: Float64s = shared_Q / (variants * (variants - 1) / 2) / frames
    return overlap
