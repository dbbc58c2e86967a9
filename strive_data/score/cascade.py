"""A cheap scorer for all candidates, a costly one for the best share of them.

The rule that makes one scale of two. The refined candidates keep the second scorer's scores t as they are.
All others are below, in the first scorer's order, with its distances: a candidate that the first scored
d below the last refined one gets min(t) - d·(std of t)/(std of all first scores). So one spread of the first
scorer over the video counts as one spread of the second over what it refined, no unrefined candidate is above
a refined one, and two candidates change places only where both were refined. Where either spread is 0, d
counts as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np
import numpy.typing as npt

from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, Floats, Indices, Question
from strive_data.score.scorer import FrameEmbedder, FrameScores, Scorer


class CascadeScorer:
    """Scorer of two: `second` sees only the best `share` of the candidates, question by question.

    Where the first embeds frames, so does the cascade (FrameEmbedder): they can be grouped and stored.
    """

    def __init__(self, first: Scorer, second: Scorer, *, share: float) -> None:
        self._first, self._second, self._share = first, second, share
        self.name = f"{first.name} > {share:g} {second.name}"
        if isinstance(first, FrameEmbedder):
            self.embed_frames = first.embed_frames

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        """Scores on the second scorer's scale (module docstring). A question that either scorer cannot score
        gets its SampleError in its place."""
        coarse = self._first.score(candidates, questions)
        return [
            result if isinstance(result, SampleError) else self._refine(candidates, question, result)
            for question, result in zip(questions, coarse, strict=True)
        ]

    def _refine(
        self, candidates: Candidates, question: Question, coarse: FrameScores
    ) -> FrameScores | SampleError:
        if not np.isfinite(coarse.scores).all():
            return SampleError(FailureKind.SCORE_FAILED, f"{self._first.name}: scores are not finite")
        best = best_share(coarse.scores, self._share)
        chosen = replace(candidates, frames=candidates.frames[best], times=candidates.times[best])
        try:
            (fine,) = self._second.score(chosen, [question])
        except SampleError as error:
            return error
        if isinstance(fine, SampleError):
            return fine
        scores = join(coarse.scores, fine.scores, best)
        return replace(coarse, scores=scores, windows=max(coarse.windows, fine.windows), scorer=self.name)


def best_share(scores: Floats, share: float) -> Indices:
    """Indices int32 of the best ⌈share·N⌉ of scores [N], at least one, increasing; of equals the earlier."""
    count = max(1, ceil(share * len(scores) - 1e-9))
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    return np.sort(order[:count]).astype(np.int32)


def join(coarse: Floats, fine: Floats, best: Indices) -> Floats:
    """Scores float32 [N] of `coarse` [N] and `fine` [B], those of the candidates `best` [B] (rule above)."""
    if len(fine) != len(best):
        raise SampleError(FailureKind.SCORE_FAILED, f"{len(fine)} scores for {len(best)} refined candidates")
    below: npt.NDArray[np.float64] = coarse[best].min().astype(np.float64) - coarse.astype(np.float64)
    spreads = float(coarse.astype(np.float64).std()), float(fine.astype(np.float64).std())
    slope = spreads[1] / spreads[0] if min(spreads) > 0 else 1.0
    scores = (float(fine.min()) - slope * below).astype(np.float32)
    scores[best] = fine
    return scores
