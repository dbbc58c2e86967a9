"""What a scorer is and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from strive_data.errors import SampleError
from strive_data.schema import Candidates, Floats, Question


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameScores:
    """Scores of one video's candidates for one question.

    scores float32 [N], higher is more relevant, on the scorer's own scale; `windows` into which the query was
    cut (1: it fitted); `scorer` names the model and its weights. `embeddings` are the unit embeddings float32
    [N, D] of the frames where the scorer has any (score/embedder.py), the same for all questions of a video.
    """

    scores: Floats
    windows: int
    scorer: str
    embeddings: Floats | None = None


class Scorer(Protocol):
    """Scores the candidates of one video for all of its questions at once."""

    name: str

    def score(
        self, candidates: Candidates, questions: Sequence[Question]
    ) -> Sequence[FrameScores | SampleError]:
        """Candidates of one video, frames uint8 RGB [N, H, W, 3] → one result a question, in order.

        A question that alone cannot be scored gets a SampleError (score_failed) in its place; frames that
        cannot be scored at all raise it.
        """
        ...
