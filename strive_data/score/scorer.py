"""What a scorer is and what it returns; the query of a question; frames of many videos in shared batches.

No token of a long query is cut off, whatever the text encoder's limit (CLIP's own tokenizer cuts at 77 in
silence): it is split into windows. A frame's embedding has the same bits wherever it is in a batch, so videos
share batches of one size, of which only the last one is padded, and run beside what the caller does. The
embeddings can be grouped, stored, and kept for later questions.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, Floats, Frames, Question

SCHEMAS = ("local-dir:", "hf-hub:")
"""Beginnings of the name of a CLIP model that say where it lies; other names are open_clip's own."""
OFFLINE_HINT = (
    "without a network, give a local file (--set score.pretrained=/path/to/weights.safetensors), "
    "an open_clip folder (--set score.model=local-dir:/path/to/folder), or even frames (--scorer flat "
    "--set sampler.grouping=none --set shard.embeds=false)"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameScores:
    """Scores of one video's candidates for one question.

    scores float32 [N], higher is more relevant, on the scorer's own scale; `windows` into which the query was
    cut (1: it fitted); `scorer` names the model and its weights (empty: the scorer's name). `embeddings` are
    the unit embeddings float32 [N, D] of the frames where the scorer has any, the same for all
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


CountTokens = Callable[[str], int]


def query_text(question: Question, form: Literal["question", "question+options"]) -> str:
    """The text that frames are compared with."""
    options = question.options if form == "question+options" else ()
    return " ".join([question.question.strip(), *(option.strip() for option in options)])


def split_query(text: str, *, count: CountTokens, capacity: int, overlap: int) -> list[str]:
    """Windows of at most `capacity` tokens, in order, that together hold every word of `text`.

    `count` gives the tokens of a text without the special ones. Windows begin at words; one repeats up to
    `overlap` tokens of the one before. A word longer than a window is cut between characters. A text that
    fits is one window, unchanged. Raises SampleError where one character is longer than a window.
    """
    if count(text) <= capacity:
        return [text]
    pieces = [piece for word in text.split() for piece in _fitting(word, count, capacity)]
    windows: list[str] = []
    start, done = 0, 0
    while done < len(pieces):
        stop = start + 1
        while stop < len(pieces) and count(" ".join(pieces[start : stop + 1])) <= capacity:
            stop += 1
        if stop <= done:  # the repeated words leave no room for the next one
            start += 1
            continue
        windows.append(" ".join(pieces[start:stop]))
        begin = stop
        while begin - 1 > start and count(" ".join(pieces[begin - 1 : stop])) <= overlap:
            begin -= 1
        start, done = begin, stop
    return windows


def join_windows(
    embeddings_WD: npt.NDArray[np.float32], how: Literal["mean", "max"]
) -> npt.NDArray[np.float32]:
    """Unit embeddings of the windows [W, D] to unit query embeddings: their renormalised mean [1, D], or all
    of them [W, D] where the score is the maximum over windows."""
    if how == "max" or len(embeddings_WD) == 1:
        return embeddings_WD
    mean_1D = embeddings_WD.mean(axis=0, keepdims=True)
    unit_1D: npt.NDArray[np.float32] = mean_1D / np.maximum(np.linalg.norm(mean_1D), 1e-12)
    return unit_1D.astype(np.float32)


def _fitting(word: str, count: CountTokens, capacity: int) -> list[str]:
    """The word, halved until each part fits."""
    if count(word) <= capacity:
        return [word]
    if len(word) == 1:
        message = (
            f"query: {word!r} alone takes {count(word)} tokens, the text encoder's window holds {capacity}"
        )
        raise SampleError(FailureKind.SCORE_FAILED, message)
    middle = len(word) // 2
    return _fitting(word[:middle], count, capacity) + _fitting(word[middle:], count, capacity)


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
