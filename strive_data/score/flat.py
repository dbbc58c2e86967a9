"""No image model: every frame scores 0. Enough for uniform sampling, which looks at no score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from strive_data.schema import Candidates, Floats, Frames, Question
from strive_data.score.scorer import FrameScores

NAME = "flat"


class FlatScorer:
    """Scores of 0 and embeddings of no width [N, 0]: what is kept of a video is its frames alone."""

    name = NAME

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores]:
        """Zeros float32 [N] for each question."""
        return self.score_embeddings(self.embed_frames(candidates.frames), questions)

    def embed_frames(self, frames: Frames) -> Floats:
        """Float32 [N, 0] of frames uint8 RGB [N, H, W, 3]."""
        return np.zeros((len(frames), 0), dtype=np.float32)

    def embedding_identity(self) -> str:
        """None: frames that were kept for any image model will do (cache.FRAMES_ONLY)."""
        return ""

    def score_embeddings(self, frames_ND: Floats, questions: Sequence[Question]) -> list[FrameScores]:
        """What `score` gives."""
        zeros = np.zeros(len(frames_ND), dtype=np.float32)
        return [FrameScores(scores=zeros, windows=1, scorer=NAME, embeddings=frames_ND) for _ in questions]
