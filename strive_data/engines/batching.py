"""Embed the frames of several videos in shared batches, while other videos are decoded and written.

Batches have one size, videos do not. The bits of an embedding do not depend on its place in a batch, so
shared batches change the cost only. The model runs in threads of this process (score/batcher.py).
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
class EmbeddedVideo:
    """A decoded video and its unit embeddings float32 [N, D]; None if the scorer computes them itself.

    `model_seconds` is the video's share, by frames, of the time of the image model.
    """

    name: str
    video: Video | SampleError
    embeddings: Floats | None = None
    model_seconds: float = 0.0


def embed_videos(
    videos: Iterable[tuple[str, Video | SampleError]], scorer: Scorer
) -> Iterator[EmbeddedVideo]:
    """The videos in their order, with embeddings if these are all that the scorer needs of a video.

    Draws videos while the model can take more, and holds at most 32. A video is returned as soon as all
    before it are done.
    """
    if not isinstance(scorer, BatchingScorer):
        yield from (EmbeddedVideo(name=name, video=video) for name, video in videos)
        return
    with scorer.frame_batcher() as batcher:
        held: deque[_Queued] = deque()
        for name, video in videos:
            held.append(_Queued(name=name, video=video, queued=_put(batcher, video)))
            if len(held) >= MOST_VIDEOS:
                batcher.flush()
                yield held.popleft().result()
            yield from _done(held)
            while batcher.is_full():
                batcher.wait()
                yield from _done(held)
        batcher.flush()
        while held:
            yield held.popleft().result()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Queued:
    name: str
    video: Video | SampleError
    queued: BatchedVideo | None

    def is_done(self) -> bool:
        return self.queued is None or self.queued.is_done()

    def result(self) -> EmbeddedVideo:
        if self.queued is None:
            return EmbeddedVideo(name=self.name, video=self.video)
        done = self.queued.result()
        return EmbeddedVideo(
            name=self.name, video=self.video, embeddings=done.rows, model_seconds=done.seconds
        )


def _done(held: deque[_Queued]) -> Iterator[EmbeddedVideo]:
    while held and held[0].is_done():
        yield held.popleft().result()


def _put(batcher: FrameBatcher, video: Video | SampleError) -> BatchedVideo | None:
    """Queue the frames of a video; None if it needs no embedding, or scoring will refuse its frames."""
    frames = _fresh_frames(video)
    try:
        return None if frames is None else batcher.put(frames)
    except SampleError:
        return None


def _fresh_frames(video: Video | SampleError) -> Frames | None:
    """Frames that have no embedding yet."""
    if isinstance(video, CacheMiss):
        return video.candidates.frames
    return video.frames if isinstance(video, Candidates) else None
