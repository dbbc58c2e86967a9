"""The local engine: one machine, videos decoded by a pool of processes, scored by this one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from strive_data.common.stopwatch import Stopwatch
from strive_data.config import BuildSettings, DecodeSettings
from strive_data.decode import read_candidates
from strive_data.engines.batching import EmbeddedVideo, embed_videos
from strive_data.engines.cache import CacheHit, CacheMiss
from strive_data.engines.decode_pool import Read, decode_videos
from strive_data.engines.engine import VideoJob, VideoPath, VideoResult
from strive_data.engines.fetch import FetchedRead
from strive_data.engines.results import Video, open_cache, require_embeddings, samples_of
from strive_data.errors import SampleError
from strive_data.schema import FailedRow, LocalVideo, Sample
from strive_data.score import Scorer, make_scorer


@dataclass(frozen=True)
class TimedRead:
    """`read`, with the seconds that it took in its process."""

    read: Read[Video]

    def __call__(self, path: VideoPath, settings: DecodeSettings) -> tuple[Video, float]:
        """What `read` gives, and its seconds."""
        started = time.perf_counter()
        return self.read(path, settings), time.perf_counter() - started


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
        self._read = TimedRead(FetchedRead(read))

    def run(self, jobs: Iterable[VideoJob]) -> Iterator[VideoResult]:
        """One result for each job, in their order (engine.py)."""
        started: dict[str, VideoJob] = {}
        decode_seconds: dict[str, float] = {}

        def paths() -> Iterator[tuple[str, VideoPath]]:
            for job in jobs:
                started[job.name] = job
                yield job.name, job.path

        def videos() -> Iterator[tuple[str, Video | SampleError]]:
            decoded = decode_videos(paths(), self._settings.decode, workers=self._workers, read=self._read)
            for name, read in decoded:
                if isinstance(read, SampleError):
                    yield name, read
                else:
                    video, decode_seconds[name] = read
                    yield name, video

        for done in embed_videos(videos(), self._scorer):
            job, seconds = started.pop(done.name), decode_seconds.pop(done.name, 0.0)
            yield video_result(job, done, self._scorer, self._settings, decode_seconds=seconds)


def video_result(
    job: VideoJob, done: EmbeddedVideo, scorer: Scorer, settings: BuildSettings, *, decode_seconds: float
) -> VideoResult:
    """Scores and samples of a job's questions, once its video is decoded and, where it can be, embedded."""
    watch = Stopwatch()
    watch.add({"decode": decode_seconds, "model": done.model_seconds})
    results = samples_of(job.rows, done.video, scorer, settings, embeddings=done.embeddings, stopwatch=watch)
    return result_of(job, done.video, tuple(results), watch)


def result_of(
    job: VideoJob, video: Video | SampleError, results: tuple[Sample | FailedRow, ...], watch: Stopwatch
) -> VideoResult:
    """The result of a job whose questions are done."""
    return VideoResult(
        job=job,
        results=results,
        frames=0 if isinstance(video, SampleError) else frame_count(video),
        from_cache=isinstance(video, CacheHit),
        damaged_entry=video.damaged_entry if isinstance(video, CacheMiss) else None,
        seconds=watch.seconds,
    )


def frame_count(video: Video) -> int:
    """Candidate frames of a video."""
    if isinstance(video, CacheHit):
        return len(video.frames.times)
    return len(video.candidates.times) if isinstance(video, CacheMiss) else len(video.times)
