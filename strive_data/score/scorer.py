"""What a scorer is and what it returns; and the scorer `flat`, which needs no image model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol, runtime_checkable

import numpy as np

from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, Floats, Frames, Question


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameScores:
    """Scores of one video's candidates for one question.

    scores float32 [N], higher is more relevant, on the scorer's own scale; `windows` into which the query was
    cut (1: it fitted); `scorer` names the model and its weights (empty: the scorer's name). `embeddings` are
    the unit embeddings float32 [N, D] of the frames where the scorer has any (batcher.py), the same for all
    questions of a video.
    """

    scores: Floats
    windows: int = 1
    scorer: str = ""
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


def require_frames(frames: Frames) -> None:
    """Raise SampleError (score_failed) for frames that are not [N, H, W, 3], N at least 1."""
    if frames.ndim != 4 or frames.shape[3] != 3 or len(frames) == 0:
        raise SampleError(FailureKind.SCORE_FAILED, f"frames of shape {frames.shape}, expected [N, H, W, 3]")


class FlatScorer:
    """Scores every frame 0, which is enough for uniform sampling. Its embeddings have no width, [N, 0]: the
    cache keeps the frames of a video alone."""

    name = "flat"

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores]:
        """Zeros float32 [N] for each question."""
        return self.score_embeddings(self.embed_frames(candidates.frames), questions)

    def embed_frames(self, frames: Frames) -> Floats:
        """Float32 [N, 0] of frames uint8 RGB [N, H, W, 3]."""
        return np.zeros((len(frames), 0), dtype=np.float32)

    def embedding_identity(self) -> str:
        """Empty: frames that the cache keeps for any image model fit (cache.FRAMES_ONLY)."""
        return ""

    def embedding_size(self) -> int:
        """0: these embeddings have no components."""
        return 0

    def score_embeddings(self, frames_ND: Floats, questions: Sequence[Question]) -> list[FrameScores]:
        """What `score` gives."""
        zeros = np.zeros(len(frames_ND), dtype=np.float32)
        scored = FrameScores(scores=zeros, windows=1, scorer=self.name, embeddings=frames_ND)
        return [scored] * len(questions)


@runtime_checkable
class FrameEmbedder(Protocol):
    """A scorer whose FrameScores carry the embeddings of the frames."""

    def embed_frames(self, frames: Frames) -> Floats:
        """Unit embeddings float32 [N, D] of frames uint8 RGB [N, H, W, 3]."""
        ...


class NoisyScorer:
    """Another scorer whose scores get normal noise of `sigma`, in the scorer's own units.

    The noise of a question depends on its sample id alone, so equal builds stay equal. Where the scorer
    embeds frames, so does this one (FrameEmbedder): they can be grouped and stored.
    """

    def __init__(self, scorer: Scorer, sigma: float) -> None:
        self._scorer, self._sigma = scorer, sigma
        self.name = f"{scorer.name}+noise{sigma:g}"
        if isinstance(scorer, FrameEmbedder):
            self.embed_frames = scorer.embed_frames

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        """What the scorer gives, with noise."""
        results = self._scorer.score(candidates, questions)
        return [
            result if isinstance(result, SampleError) else self._noisy(result, question.sample_id)
            for result, question in zip(results, questions, strict=True)
        ]

    def _noisy(self, clean: FrameScores, sample_id: str) -> FrameScores:
        key = int.from_bytes(sha256(sample_id.encode()).digest()[:16], "little")
        noise = np.random.Generator(np.random.Philox(key=key)).standard_normal(len(clean.scores))
        scores = (clean.scores + self._sigma * noise).astype(np.float32)
        return replace(clean, scores=scores, scorer=self.name)
