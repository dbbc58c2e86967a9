"""The local engine: videos decoded by a pool of processes, embedded in shared batches, scored here.

Batches have one size, videos do not. The bits of an embedding do not depend on its place in a batch, so
shared batches change the cost only. The model runs in threads of this process (score/batcher.py), while other
videos are decoded and written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from strive_data.config import BuildSettings, DecodeSettings
from strive_data.decode import read_candidates
from strive_data.engines.cache import CacheHit, CacheMiss
from strive_data.engines.decode_pool import TimedRead, decode_videos
from strive_data.engines.engine import Stopwatch, VideoJob, VideoResult
from strive_data.engines.samples import Video, open_cache, require_embeddings, samples_of
from strive_data.errors import SampleError
from strive_data.schema import Candidates, LocalVideo
from strive_data.score import Scorer, make_scorer
from strive_data.score.batcher import BatchedVideo, BatchingScorer, Embedded, FrameBatcher

MOST_VIDEOS = 32
K = TypeVar("K")


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedVideo(Generic[K]):
    """A decoded video under the caller's `key`, and its embeddings unless the scorer computes them itself."""

    key: K
    video: Video | SampleError
    embedded: Embedded | None = None


def embed_videos(
    videos: Iterable[tuple[K, Video | SampleError]], scorer: Scorer
) -> Iterator[EmbeddedVideo[K]]:
    """The videos in their order, with embeddings if these are all that the scorer needs of a video.

    Draws videos while the model can take more, and holds at most 32. A video is returned as soon as all
    before it are done.
    """
    if not isinstance(scorer, BatchingScorer):
        yield from (EmbeddedVideo(key=key, video=video) for key, video in videos)
        return
    with scorer.frame_batcher() as batcher:
        held: deque[_Held[K]] = deque()
        for key, video in videos:
            held.append((key, video, _put(batcher, video)))
            if len(held) >= MOST_VIDEOS:
                batcher.flush()
                yield _embedded(*held.popleft())
            yield from _done(held)
            while batcher.is_full():
                batcher.wait()
                yield from _done(held)
        batcher.flush()
        while held:
            yield _embedded(*held.popleft())


_Held = tuple[K, Video | SampleError, BatchedVideo | None]


def _put(batcher: FrameBatcher, video: Video | SampleError) -> BatchedVideo | None:
    """Queue the frames of a video; None if it needs no embedding, or scoring will refuse its frames."""
    candidates = video.candidates if isinstance(video, CacheMiss) else video
    if not isinstance(candidates, Candidates):
        return None
    try:
        return batcher.put(candidates.frames)
    except SampleError:
        return None


def _embedded(key: K, video: Video | SampleError, queued: BatchedVideo | None) -> EmbeddedVideo[K]:
    return EmbeddedVideo(key=key, video=video, embedded=queued.result() if queued else None)


def _done(held: deque[_Held[K]]) -> Iterator[EmbeddedVideo[K]]:
    while held and (held[0][2] is None or held[0][2].is_done()):
        yield _embedded(*held.popleft())


class LocalEngine:
    """Decodes in `workers` processes (0: one a core), scores and samples in the process that it is made in.

    `cache` is a folder where decoded and embedded videos are kept for later builds (cache.py).
    Raises SettingsError and UsageError for a scorer or a cache that cannot be had with these settings.
    """

    def __init__(self, settings: BuildSettings, *, workers: int = 0, cache: Path | None = None) -> None:
        self._settings, self._workers = settings, workers
        self._scorer = make_scorer(settings.score)
        require_embeddings(self._scorer, settings)
        read: Callable[[LocalVideo, DecodeSettings], Video] = read_candidates
        if cache is not None:
            read = open_cache(cache, self._scorer, settings).read
        self._read = TimedRead(read)

    def run(self, jobs: Iterable[VideoJob]) -> Iterator[VideoResult]:
        """One result for each job, in their order (engine.py)."""
        decoded = decode_videos(
            ((job, job.path) for job in jobs), self._settings.decode, workers=self._workers, read=self._read
        )
        videos: Iterator[tuple[tuple[VideoJob, float], Video | SampleError]] = (
            ((job, 0.0), read) if isinstance(read, SampleError) else ((job, read[1]), read[0])
            for job, read in decoded
        )
        for done in embed_videos(videos, self._scorer):
            job, seconds = done.key
            yield video_result(job, done, self._scorer, self._settings, decode_seconds=seconds)


def video_result(
    job: VideoJob, done: EmbeddedVideo[K], scorer: Scorer, settings: BuildSettings, *, decode_seconds: float
) -> VideoResult:
    """Scores and samples of a job's questions, once its video is decoded and, where it can be, embedded."""
    watch, video, embedded = Stopwatch(), done.video, done.embedded
    watch.add({"decode": decode_seconds, "model": embedded.seconds if embedded else 0.0})
    embeddings = embedded.rows if embedded else None
    results = samples_of(job.rows, video, scorer, settings, embeddings=embeddings, stopwatch=watch)
    return VideoResult(
        job=job,
        results=tuple(results),
        frames=0 if isinstance(video, SampleError) else len(video.times),
        from_cache=isinstance(video, CacheHit),
        damaged_entry=video.damaged_entry if isinstance(video, CacheMiss) else None,
        seconds=watch.seconds,
    )
