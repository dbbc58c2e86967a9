"""What a build says of itself when it is done, or was stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from strive_data.annotations import Reading
from strive_data.counted import counted
from strive_data.schema import Failure

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
    kept: int = 0
    damaged: tuple[Path, ...] = ()
    versions: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)


def summary_lines(summary: BuildSummary, out: Path | str, cache: Path | None) -> Iterator[str]:
    """The lines of a build that came to its end."""
    for path, reading in summary.readings.items():
        unread = f"; not read: {', '.join(reading.unread)}" if reading.unread else ""
        yield f"{path}: recipe {reading.recipe}{unread}"
    for name, (was, now) in summary.versions.items():
        yield f"{out}: begun with {name} {was}, now {now}: equal bytes are promised for equal versions only"
    for entry in summary.damaged:
        yield f"{entry}: damaged cache entry, made again"
    if cache and not summary.unchanged:
        yield f"{cache}: {summary.kept} of {counted(summary.tried_videos, 'video')} came from the cache"
    if summary.unchanged:
        yield f"{out}: finished already, nothing to do"
    elif summary.resumed:
        were = "was" if summary.resumed == 1 else "were"
        yield f"{out}: {counted(summary.resumed, 'sample')} {were} there already"
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
    held = f"{counted(samples, 'sample')} of {counted(videos, 'video')}{tried} in {counted(shards, 'shard')}"
    return f"{held}, {counted(failures, 'failure')}"


def stopped_line(out: Path | str) -> str:
    """What is said when a signal ended the build."""
    return f"stopped: finished shards are kept in {out}; start the same command again to go on"
