"""Frames of many videos through an image model in batches of one size, beside what the caller does.

A frame's embedding has the same bits wherever it is in a batch, so videos share batches and only the last one
is padded. The embeddings can be grouped, stored, and kept for later questions.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from strive_data.errors import SampleError
from strive_data.schema import Floats, Frames, Question
from strive_data.score.scorer import FrameEmbedder, FrameScores, require_frames

EmbedBatch = Callable[[Sequence[Frames]], Floats]
"""Frames uint8 RGB [H, W, 3] of any sizes → their unit embeddings float32 [B, D]; from any thread."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """Unit embeddings float32 [N, D] of a video, and its share of the seconds that the model took."""

    rows: Floats
    seconds: float


class BatchedVideo:
    """The embeddings of one video; complete when all batches with frames of it are done."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._parts: list[tuple[Future[tuple[Floats, float]], slice]] = []

    def add(self, batch: Future[tuple[Floats, float]], rows: slice) -> None:
        """The next frames are these rows of a batch."""
        self._parts.append((batch, rows))
        self._missing -= rows.stop - rows.start

    def is_done(self) -> bool:
        """Whether `result` has nothing to wait for."""
        return not self._missing and all(batch.done() for batch, _ in self._parts)

    def result(self) -> Embedded:
        """Waits for the embeddings. Raises RuntimeError before all frames are in batches (see `flush`)."""
        if self._missing:
            raise RuntimeError(f"{self._missing} frames are not in a batch yet: flush the batcher first")
        done = [(*batch.result(), rows) for batch, rows in self._parts]
        seconds = sum(spent * (rows.stop - rows.start) / len(batch) for batch, spent, rows in done)
        return Embedded(rows=np.concatenate([batch[rows] for batch, _, rows in done]), seconds=seconds)


class FrameBatcher:
    """Collects frames into batches of `size` and starts each full one in `pool` at once."""

    def __init__(self, embed: EmbedBatch, *, size: int, pool: Executor, most_batches: int) -> None:
        self._embed, self._size, self._pool, self._most = embed, size, pool, most_batches
        self._open: list[tuple[BatchedVideo, Frames]] = []
        self._running: deque[Future[tuple[Floats, float]]] = deque()

    def put(self, frames: Frames) -> BatchedVideo:
        """Add the frames uint8 RGB [N, H, W, 3] of a video; SampleError (score_failed) for other shapes."""
        require_frames(frames)
        video = BatchedVideo(len(frames))
        for frame in frames:
            self._open.append((video, frame))
            if len(self._open) == self._size:
                self.flush()
        return video

    def flush(self) -> None:
        """Start the batch that is not full yet."""
        if not self._open:
            return
        batch = self._pool.submit(_timed, self._embed, [frame for _, frame in self._open])
        self._running.append(batch)
        videos = [video for video, _ in self._open]
        for video in dict.fromkeys(videos):
            start = videos.index(video)
            video.add(batch, slice(start, start + videos.count(video)))
        self._open = []

    def is_full(self) -> bool:
        """Whether so many batches wait or run that one more would only take memory."""
        while self._running and self._running[0].done():
            self._running.popleft()
        return len(self._running) >= self._most

    def wait(self) -> None:
        """Wait for the oldest running batch. Raises what it raised."""
        if self._running:
            self._running[0].result()


def _timed(embed: EmbedBatch, frames: Sequence[Frames]) -> tuple[Floats, float]:
    started = time.perf_counter()
    return embed(frames), time.perf_counter() - started


@runtime_checkable
class EmbeddingScorer(FrameEmbedder, Protocol):
    """A scorer that needs nothing of a video but its frame embeddings."""

    def embedding_identity(self) -> str:
        """Hash of all that the bits of an embedding depend on: weights, preprocessing, precision, batch."""
        ...

    def embedding_size(self) -> int:
        """D of the embeddings."""
        ...

    def score_embeddings(
        self, frames_ND: Floats, questions: Sequence[Question]
    ) -> Sequence[FrameScores | SampleError]:
        """What `score` gives, from what `embed_frames` gave."""
        ...


@runtime_checkable
class BatchingScorer(EmbeddingScorer, Protocol):
    """A scorer that embeds the frames of many videos in shared batches."""

    def frame_batcher(self) -> AbstractContextManager[FrameBatcher]:
        """A batcher for frames; frames without a result at the end of the block are dropped."""
        ...
