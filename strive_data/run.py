"""What a build says of itself when it is done, or was stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from strive_data.annotations.read import Reading
from strive_data.common.stopwatch import Stopwatch
from strive_data.common.text import plural
from strive_data.config import FailureSettings
from strive_data.engines.engine import Engine, VideoResult
from strive_data.errors import FailureKind, StriveError
from strive_data.plan import PendingJobs
from strive_data.progress import Observer, VideoDone
from strive_data.schema import Failure
from strive_data.shards.writer import ShardStream

# One start of a build: videos drawn from an engine, written in their order, counted and shown.


@dataclass
class RunStats:
    """What one start saw: seconds by stage, videos from the cache, damaged entries of it."""

    watch: Stopwatch = field(default_factory=Stopwatch)
    cached_videos: int = 0
    damaged_entries: list[Path] = field(default_factory=list)


def run_jobs(
    engine: Engine, work: PendingJobs, stream: ShardStream, observer: Observer, counted: FailureCount
) -> RunStats:
    """Write what the engine makes of the jobs. Raises TooManyFailuresError at the limit of `counted`."""
    seen = RunStats()
    results = engine.run(work.jobs)
    # An engine's iterator is a generator: closing it ends the workers, whatever ends the loop.
    with closing(results):  # type: ignore[type-var]
        for video in results:
            done, lost = write_video(video, work, stream)
            seen.watch.add(done.seconds)
            seen.cached_videos += video.from_cache
            if video.damaged_entry is not None:
                seen.damaged_entries.append(video.damaged_entry)
            observer.advance(done)
            counted.add(done.questions, lost)
    return seen


def write_video(
    video: VideoResult, work: PendingJobs, stream: ShardStream
) -> tuple[VideoDone, list[Failure]]:
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
        from_cache=video.from_cache,
        seconds=watch.seconds,
    )
    return done, lost


# When too much fails: the counts of one start of a build, and what is said when it stops.

CAUSE = {
    FailureKind.MISSING: "is --data-root the folder that the annotation's video paths start from?",
    FailureKind.TIMEOUT: "is the storage slow, or decode.timeout_seconds short?",
    FailureKind.OOM: "is decode.memory_bytes or decode.max_source_pixels low, or memory short?",
}

WAYS_OUT = (
    "  what is finished is kept: put the cause right and start the same command again "
    "(--retry-failed tries failed rows again), or raise the limit (--set {limit})"
)


class TooManyFailuresError(StriveError):
    """More rows fail than the settings allow; the message sums them up by kind."""


class FailureCount:
    """Counts the rows tried and failed since the start of the command, with an example of each kind."""

    def __init__(self, limits: FailureSettings) -> None:
        self._limits = limits
        self._tried = 0
        self._kinds: Counter[FailureKind] = Counter()
        self._examples: dict[FailureKind, Failure] = {}

    def add(self, tried: int, failures: Sequence[Failure]) -> None:
        """Count `tried` rows, of which these failed. Raises TooManyFailuresError at the limit."""
        self._tried += tried
        for failure in failures:
            self._kinds[failure.kind] += 1
            self._examples.setdefault(failure.kind, failure)
        if failures and (reason := stop_reason(self._tried, self._kinds.total(), self._limits)):
            told = _by_kind(self._kinds, self._examples)
            # Both limits may be in the way: a count of 0 is none.
            limit = "failures.max_share=1" + " --set failures.max_count=0" * bool(self._limits.max_count)
            raise TooManyFailuresError("\n".join([reason, *told, WAYS_OUT.format(limit=limit)]))


def sum_up(failures: Sequence[Failure]) -> list[str]:
    """A line for each kind, the most frequent first, with an example, and what may have caused that one."""
    examples = {failure.kind: failure for failure in reversed(failures)}
    return _by_kind(Counter(failure.kind for failure in failures), examples)


def stop_reason(tried: int, failed: int, limits: FailureSettings) -> str | None:
    """Why the build has to stop, or None. One row more than the limits allow is too many."""
    if limits.max_count and failed > limits.max_count:
        return f"stopped: {failed} of {plural(tried, 'row')} failed, failures.max_count is {limits.max_count}"
    if tried >= limits.min_rows and failed > limits.max_share * tried:
        return (
            f"stopped: {failed} of {plural(tried, 'row')} failed, failures.max_share is {limits.max_share:g}"
        )
    return None


def _by_kind(kinds: Counter[FailureKind], examples: Mapping[FailureKind, Failure]) -> list[str]:
    return [
        *(
            f"  {count} {kind}, as row {examples[kind].row}: {examples[kind].message}"
            for kind, count in kinds.most_common()
        ),
        *(f"  {CAUSE[kind]}" for kind, _ in kinds.most_common(1) if kind in CAUSE),
    ]


SHOWN_FAILURES = 10


@dataclass(frozen=True, kw_only=True)
class BuildSummary:
    """What a build holds: counts, the failures in the order of the annotation, and how each file was read.

    `videos` are those that samples come from, `tried_videos` these and those that gave none. `resumed`
    samples were there when it started; `unchanged`: there was nothing to do. `kept` videos came from the
    cache; `damaged` entries of it were found and made again. `versions` are packages whose version is not the
    one that the build was begun with: (begun with, now).
    """

    samples: int
    videos: int
    tried_videos: int
    shards: int
    failures: tuple[Failure, ...]
    seconds: float
    readings: dict[str, Reading] = field(default_factory=dict)
    resumed: int = 0
    unchanged: bool = False
    cached_videos: int = 0
    damaged_entries: tuple[Path, ...] = ()
    versions: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)


def summary_lines(summary: BuildSummary, out: Path | str, cache: Path | None) -> Iterator[str]:
    """The lines of a build that came to its end."""
    for path, reading in summary.readings.items():
        unread = [f"not read: {', '.join(reading.unread)}"] if reading.unread else []
        yield "; ".join([f"{path}: recipe {reading.recipe}", *reading.guesses, *unread])
    for name, (was, now) in summary.versions.items():
        yield f"{out}: begun with {name} {was}, now {now}: equal bytes are promised for equal versions only"
    for entry in summary.damaged_entries:
        yield f"{entry}: damaged cache entry; its video was decoded again"
    if cache and not summary.unchanged:
        tried = plural(summary.tried_videos, "video")
        yield f"{cache}: {summary.cached_videos} of {tried} came from the cache"
    if summary.unchanged:
        yield f"{out}: finished already, nothing to do"
    elif summary.resumed:
        were = "was" if summary.resumed == 1 else "were"
        yield f"{out}: {plural(summary.resumed, 'sample')} {were} there already"
    counts = counted_samples(
        samples=summary.samples,
        videos=summary.videos,
        tried_videos=summary.tried_videos,
        shards=summary.shards,
        failures=len(summary.failures),
    )
    yield f"{out}: {counts}, {summary.seconds:.1f} s"
    for failure in summary.failures[:SHOWN_FAILURES]:
        yield f"  row {failure.row}, {failure.kind}: {failure.message}"
    if len(summary.failures) > SHOWN_FAILURES:
        yield f"  and {len(summary.failures) - SHOWN_FAILURES} more: strive-data inspect {out} --failures"


def counted_samples(*, samples: int, videos: int, tried_videos: int, shards: int, failures: int) -> str:
    """What a build holds, on one line."""
    tried = f" ({tried_videos} tried)" if tried_videos != videos else ""
    held = f"{plural(samples, 'sample')} of {plural(videos, 'video')}{tried} in {plural(shards, 'shard')}"
    return f"{held}, {plural(failures, 'failure')}"


def stopped_line(out: Path | str) -> str:
    """What is said when a signal ended the build."""
    return f"stopped: finished shards are kept in {out}; start the same command again to go on"
