"""Progress over the shards of a finished build, on standard error: a bar, or a plain line every so often."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from strive_data.common.stopwatch import WORK_STAGES, Seconds, WorkStage
from strive_data.common.text import plural
from strive_data.errors import FailureKind

# What a build tells of itself while it runs: to a progress bar, a log, a test.


@dataclass(frozen=True, kw_only=True)
class ProgressTotals:
    """What there is to do: videos and questions of the annotation, and how many an earlier start finished.

    `failures` are rows of the annotation that cannot be used; they are no part of `questions`. `shards` and
    `written_bytes` are those that earlier starts committed.
    """

    videos: int
    questions: int
    videos_done: int = 0
    questions_done: int = 0
    failures: int = 0
    shards: int = 0
    written_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class VideoDone:
    """One video more: its questions and how many of them failed, by kind; its decoded candidate frames.

    `written_bytes` and `shards`: what the build has written since the last video, samples of the open shard
    too (without a tar's end mark), shards only when committed. `seconds` are those spent on the video by
    stage, in workers and in this process alike: stages run beside each other, so their sum may exceed the
    wall clock.
    """

    video: str
    questions: int
    failures: Mapping[FailureKind, int] = field(default_factory=dict)
    frames: int = 0
    written_bytes: int = 0
    shards: int = 0
    from_cache: bool = False
    seconds: Seconds = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """How many of its questions failed."""
        return sum(self.failures.values())


class Observer(Protocol):
    """Told of each finished video, and of the end."""

    def start(self, work: ProgressTotals) -> None:
        """Before the first video."""

    def advance(self, done: VideoDone) -> None:
        """After each video, in the order of the annotation."""

    def finish(self, *, shards: int, written_bytes: int) -> None:
        """Behind the last video, when the shard that was open is committed and `run.json` is there.

        Both as its counts have them, of the whole build: `written_bytes` are those of the tars.
        """


# What a build has done so far, counted from what it tells (observer.py). Pure: the clock is the caller's.


@dataclass(frozen=True, kw_only=True)
class ProgressCounts:
    """Counts since this start; what an earlier start did is in `work`, the sums are `…_done` and `failed`.

    `failures` by kind; `frames` decoded or taken from the cache; `written_bytes` of samples; `seconds` by
    stage, summed over all processes and threads.
    """

    work: ProgressTotals
    videos: int = 0
    questions: int = 0
    failures: Mapping[FailureKind, int] = field(default_factory=dict)
    frames: int = 0
    shards: int = 0
    written_bytes: int = 0
    seconds: Mapping[WorkStage, float] = field(default_factory=dict)

    def after(self, done: VideoDone) -> ProgressCounts:
        """The counts with one video more."""
        failures = dict(self.failures)
        for kind, count in done.failures.items():
            failures[kind] = failures.get(kind, 0) + count
        seconds = {name: self.seconds.get(name, 0.0) + done.seconds.get(name, 0.0) for name in WORK_STAGES}
        return replace(
            self,
            videos=self.videos + 1,
            questions=self.questions + done.questions,
            failures=failures,
            frames=self.frames + done.frames,
            shards=self.shards + done.shards,
            written_bytes=self.written_bytes + done.written_bytes,
            seconds=seconds,
        )

    def finished(self, *, shards: int, written_bytes: int) -> ProgressCounts:
        """The counts at the end, when the whole build holds so many shards and bytes."""
        before = self.work
        return replace(
            self, shards=shards - before.shards, written_bytes=written_bytes - before.written_bytes
        )

    @property
    def videos_done(self) -> int:
        """Videos of this start and of earlier ones."""
        return self.work.videos_done + self.videos

    @property
    def questions_done(self) -> int:
        """Questions of this start and of earlier ones."""
        return self.work.questions_done + self.questions

    @property
    def shards_done(self) -> int:
        """Shards that were committed, by earlier starts too."""
        return self.work.shards + self.shards

    @property
    def bytes_done(self) -> int:
        """Bytes of samples that were written, by earlier starts too."""
        return self.work.written_bytes + self.written_bytes

    @property
    def failed(self) -> int:
        """Rows that cannot be used: unusable ones of the annotation too."""
        return self.work.failures + sum(self.failures.values())

    def seconds_left(self, elapsed_seconds: float) -> float | None:
        """At the pace since the start; 0 when all are done, None before the first video."""
        if self.videos_done == self.work.videos:
            return 0.0
        if not self.videos:
            return None
        return elapsed_seconds / self.videos * (self.work.videos - self.videos_done)

    def stage_shares(self) -> dict[WorkStage, float]:
        """Each stage's share of the seconds of all stages, 0 to 1; empty before any were counted."""
        total = sum(self.seconds.values())
        return {name: self.seconds[name] / total for name in WORK_STAGES} if total > 0 else {}

    def bottleneck(self) -> WorkStage | None:
        """The stage that most seconds go into; None before any were counted."""
        by_share = sorted(self.stage_shares().items(), key=lambda item: item[1])
        return by_share[-1][0] if by_share else None


# Progress of a build on standard error: a live picture on a terminal, else a plain line every so often.

LEAST_SECONDS_BETWEEN_LINES = 10.0
MOST_SECONDS_BETWEEN_LINES = 300.0
LINES_OF_A_RUN = 20
BAR_CHARACTERS = 40


class BuildProgress:
    """Shows videos, questions, shards, failures, frames a second, bytes, time left and the slowest stage.

    Use as a context manager. `console` and `clock` (seconds) are there to be replaced.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._started = self._last_line = clock()
        self._tally: ProgressCounts | None = None
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._picture, console=self._console)

    def __enter__(self) -> BuildProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def start(self, work: ProgressTotals) -> None:
        """Before the first video."""
        self._started = self._last_line = self._clock()
        self._tally = ProgressCounts(work=work)
        if not self._live:
            self._print(start_line(work))

    def advance(self, done: VideoDone) -> None:
        """After each video."""
        if self._tally is None:
            raise RuntimeError("progress: a video was done before start() was called")
        self._tally = self._tally.after(done)
        now = self._clock()
        elapsed = now - self._started
        if not self._live and now - self._last_line >= seconds_between_lines(elapsed):
            self._last_line = now
            self._print(progress_line(self._tally, elapsed))

    def finish(self, *, shards: int, written_bytes: int) -> None:
        """Behind the last video: the last line has the counts of `run.json`."""
        if self._tally is None:
            raise RuntimeError("progress: the end came before start() was called")
        self._tally = self._tally.finished(shards=shards, written_bytes=written_bytes)
        if not self._live:
            self._print(progress_line(self._tally, self._clock() - self._started))

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _picture(self) -> RenderableType:
        if self._tally is None:
            return Text("reading the annotation, loading the model")
        return picture(self._tally, self._clock() - self._started)


def seconds_between_lines(elapsed_seconds: float) -> float:
    """Ten at first, then rarer, so that a log of days stays short."""
    longer = max(elapsed_seconds / LINES_OF_A_RUN, LEAST_SECONDS_BETWEEN_LINES)
    return min(longer, MOST_SECONDS_BETWEEN_LINES)


def start_line(work: ProgressTotals) -> str:
    """What there is to do, on one line."""
    before = f", {work.videos_done} of them done before" if work.videos_done else ""
    failed = f", {plural(work.failures, 'unusable row')}" if work.failures else ""
    return f"{plural(work.videos, 'video')}{before}, {plural(work.questions, 'question')}{failed}"


def progress_line(tally: ProgressCounts, elapsed_seconds: float) -> str:
    """Everything on one line, for a log."""
    parts = [f"{tally.videos_done}/{tally.work.videos} videos", *_counts(tally, elapsed_seconds)]
    stages = _stages(tally)
    return ", ".join([*parts, f"{_left(tally, elapsed_seconds)} left", *([stages] if stages else [])])


def picture(tally: ProgressCounts, elapsed_seconds: float) -> RenderableType:
    """Bar, counts and stages, one below the other."""
    bar = Table.grid(padding=(0, 2))
    bar.add_row(
        ProgressBar(total=max(tally.work.videos, 1), completed=tally.videos_done, width=BAR_CHARACTERS),
        f"{tally.videos_done}/{tally.work.videos} videos",
        f"{_clock_time(elapsed_seconds)} so far",
        f"{_left(tally, elapsed_seconds)} left",
    )
    lines = [" · ".join(_counts(tally, elapsed_seconds)), _kinds(tally.failures), _stages(tally)]
    return Group(bar, *(Text(line) for line in lines if line))


def _counts(tally: ProgressCounts, elapsed_seconds: float) -> list[str]:
    rate = tally.frames / elapsed_seconds if elapsed_seconds > 0 else 0.0
    return [
        f"{tally.questions_done}/{tally.work.questions} questions",
        plural(tally.shards_done, "shard"),
        plural(tally.failed, "failure"),
        f"{rate:.1f} frames/s",
        decimal(tally.bytes_done),
    ]


def _kinds(failures: Mapping[FailureKind, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(failures.items()))


def _stages(tally: ProgressCounts) -> str:
    """Where the seconds go, in workers and here, and the stage that takes most."""
    shares = tally.stage_shares()
    if not shares:
        return ""
    listed = " ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return f"bottleneck {tally.bottleneck()} ({listed})"


def _left(tally: ProgressCounts, elapsed_seconds: float) -> str:
    seconds = tally.seconds_left(elapsed_seconds)
    return "?" if seconds is None else _clock_time(seconds)


def _clock_time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


SECONDS_BETWEEN_LINES = 10.0


class ShardProgress:
    """Call it with (shards done, shards in all, bytes done) after each shard; use as a context manager."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} shards"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task(verb, total=None)
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> ShardProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int, size_bytes: int) -> None:
        """After each shard."""
        now = time.monotonic()
        rate = size_bytes / max(now - self._started, 1e-9)
        said = f"{self._verb}, {size_bytes / 1e6:.0f} MB, {rate / 1e6:.0f} MB/s"
        self._bar.update(self._task, completed=done, total=total, description=said)
        if not self._console.is_terminal and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._console.print(f"{done}/{total} shards {said}")
