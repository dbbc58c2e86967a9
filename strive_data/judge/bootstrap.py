"""Intervals of a mean over questions, where the videos are what was drawn by chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from strive_data.density import Float64s

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
