"""Scorers that embed frames: their embeddings can be grouped, stored, and kept for questions to come."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from strive_data.errors import SampleError
from strive_data.schema import Floats, Frames, Question
from strive_data.score.frame_queue import FrameQueue
from strive_data.score.scorer import FrameScores


@runtime_checkable
class FrameEmbedder(Protocol):
    """A scorer whose FrameScores carry the embeddings of the frames."""

    def embed_frames(self, frames: Frames) -> Floats:
        """Unit embeddings float32 [N, D] of frames uint8 RGB [N, H, W, 3]."""
        ...


@runtime_checkable
class EmbeddingScorer(FrameEmbedder, Protocol):
    """A scorer that needs nothing of a video but its frame embeddings."""

    def embedding_identity(self) -> str:
        """Hash of all that the bits of an embedding depend on: weights, preprocessing, precision, batch."""
        ...

    def score_embeddings(
        self, frames_ND: Floats, questions: Sequence[Question]
    ) -> Sequence[FrameScores | SampleError]:
        """What `score` gives, from what `embed_frames` gave."""
        ...


@runtime_checkable
class QueueingScorer(EmbeddingScorer, Protocol):
    """A scorer that embeds the frames of many videos in shared batches, beside what its caller does."""

    def frame_queue(self) -> AbstractContextManager[FrameQueue]:
        """A queue for frames; what it still holds at the end of the block is given up."""
        ...
