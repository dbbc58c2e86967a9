"""Frames of several videos through the image model together, while others are decoded and written.

It runs beside this process's other work (score/frame_batcher.py). Its batches have one size, videos do not.
A frame's embedding has the same bits wherever it stands in a batch, so only the cost changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from strive_data.engines.cache import CacheMiss
from strive_data.engines.results import Video
from strive_data.errors import SampleError
from strive_data.schema import Candidates, Floats, Frames
from strive_data.score import BatchedVideo, BatchingScorer, FrameBatcher, Scorer

MOST_VIDEOS = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Waiting:
    """A decoded video; its unit embeddings float32 [N, D], or None where scoring has to see to them.

    `model_seconds` is its share, by frames, of the time that the image model took.
    """

    name: str
    video: Video | SampleError
    embeddings: Floats | None = None
    model_seconds: float = 0.0


def embed_together(videos: Iterable[tuple[str, Video | SampleError]], scorer: Scorer) -> Iterator[Waiting]:
    """The videos in their order, with embeddings where the scorer needs nothing else of a video.

    Draws videos while the model has room for more, and holds 32 of them at most; no video waits where there
    is nothing to embed before it.
    """
    if not isinstance(scorer, BatchingScorer):
        yield from (Waiting(name=name, video=video) for name, video in videos)
        return
    with scorer.frame_batcher() as batcher:
        held: deque[_Held] = deque()
        for name, video in videos:
            held.append(_Held(name=name, video=video, queued=_put(batcher, video)))
            if len(held) >= MOST_VIDEOS:
                batcher.flush()
                yield held.popleft().embedded()
            yield from _done(held)
            while batcher.is_full():
                batcher.wait()
                yield from _done(held)
        batcher.flush()
        while held:
            yield held.popleft().embedded()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Held:
    name: str
    video: Video | SampleError
    queued: BatchedVideo | None

    def is_done(self) -> bool:
        return self.queued is None or self.queued.is_done()

    def embedded(self) -> Waiting:
        if self.queued is None:
            return Waiting(name=self.name, video=self.video)
        done = self.queued.result()
        return Waiting(name=self.name, video=self.video, embeddings=done.rows, model_seconds=done.seconds)


def _done(held: deque[_Held]) -> Iterator[Waiting]:
    while held and held[0].is_done():
        yield held.popleft().embedded()


def _put(batcher: FrameBatcher, video: Video | SampleError) -> BatchedVideo | None:
    """None for what needs no embedding, and for frames that scoring will refuse."""
    frames = _fresh_frames(video)
    try:
        return None if frames is None else batcher.put(frames)
    except SampleError:
        return None


def _fresh_frames(video: Video | SampleError) -> Frames | None:
    """Frames that still have to be embedded."""
    if isinstance(video, CacheMiss):
        return video.candidates.frames
    return video.frames if isinstance(video, Candidates) else None
