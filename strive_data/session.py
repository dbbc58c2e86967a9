"""One start of a build: videos drawn from an engine, written in their order, counted and shown."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from strive_data.engines.engine import Engine, VideoResult
from strive_data.failure_limit import FailureCount
from strive_data.observer import Observer, VideoDone
from strive_data.schema import Failure
from strive_data.shard_stream import ShardStream
from strive_data.stopwatch import Stopwatch
from strive_data.work import Work


@dataclass
class Seen:
    """What one start saw: seconds by stage, videos from the cache, damaged entries of it."""

    watch: Stopwatch = field(default_factory=Stopwatch)
    kept: int = 0
    damaged: list[Path] = field(default_factory=list)


def run_jobs(
    engine: Engine, work: Work, stream: ShardStream, observer: Observer, counted: FailureCount
) -> Seen:
    """Write what the engine makes of the jobs. Raises TooManyFailuresError at the limit of `counted`."""
    seen = Seen()
    results = engine.run(work.jobs)
    # An engine's iterator is a generator: closing it ends the workers, whatever ends the loop.
    with closing(results):  # type: ignore[type-var]
        for video in results:
            done, lost = write_video(video, work, stream)
            seen.watch.add(done.seconds)
            seen.kept += video.kept
            if video.damaged is not None:
                seen.damaged.append(video.damaged)
            observer.advance(done)
            counted.add(done.questions, lost)
    return seen


def write_video(video: VideoResult, work: Work, stream: ShardStream) -> tuple[VideoDone, list[Failure]]:
    """Write the results of one video that are not settled yet; what was done, and its failures."""
    fresh = [
        (result, question)
        for result, (_, question) in zip(video.results, video.job.rows, strict=True)
        if question.sample_id not in work.settled
    ]
    results, questions = [result for result, _ in fresh], [question for _, question in fresh]
    watch, before, shards = Stopwatch(), stream.written_bytes, len(stream.manifests)
    watch.add(video.seconds)
    with watch.stage("write"):
        stream.write(results, questions, [question.sample_id for _, question in video.job.rows])
    lost = [result for result in results if isinstance(result, Failure)]
    done = VideoDone(
        video=video.job.name,
        questions=len(results),
        failures=Counter(failure.kind for failure in lost),
        frames=video.frames,
        written_bytes=stream.written_bytes - before,
        shards=len(stream.manifests) - shards,
        kept=video.kept,
        seconds=watch.seconds,
    )
    return done, lost
