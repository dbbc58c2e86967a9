"""Progress of a build, a verification and a merge on standard error.

A build reports to an Observer; ProgressCounts adds up the reports; BuildProgress shows the counts,
live on a terminal, otherwise as a line at growing intervals.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from strive_data.common.signals import say_now
from strive_data.common.text import plural
from strive_data.engines.engine import Seconds, Stopwatch, WorkStage
from strive_data.errors import FailureKind


@dataclass(frozen=True, kw_only=True)
class ProgressTotals:
    """What there is to do: videos and questions of the annotation, and how many earlier starts finished.

    `failures` are unusable rows of the annotation; `questions` does not include them. `shards` and
    `written_bytes` are those that earlier starts committed. `notes` are printed first.
    """

    videos: int
    questions: int
    videos_done: int = 0
    questions_done: int = 0
    failures: int = 0
    shards: int = 0
    written_bytes: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VideoDone:
    """One finished video: how many questions, their failures by kind, and its decoded candidate frames.

    `written_bytes` and `shards` count what was written since the previous video: bytes of samples, also in
    the open shard, and committed shards. `seconds` were spent on the video by stage, in workers and in this
    process. Stages run in parallel, so their sum may exceed the wall clock.
    """

    questions: int
    failures: Mapping[FailureKind, int] = field(default_factory=dict)
    frames: int = 0
    written_bytes: int = 0
    shards: int = 0
    seconds: Seconds = field(default_factory=dict)


class Observer(Protocol):
    """Receives the progress of a build."""

    def start(self, totals: ProgressTotals) -> None:
        """Called before the first video."""

    def advance(self, done: VideoDone) -> None:
        """Called after each video, in the order of the annotation."""

    def finish(self, *, shards: int, written_bytes: int) -> None:
        """Called after `run.json` is written, with its counts of the whole build: shards and bytes of
        tars."""


class ProgressCounts:
    """Counts of this and earlier starts; `frames`, failures by kind and seconds are those of this start.

    `written_bytes` are those of samples, until the build ends; seconds are summed over processes and threads.
    """

    def __init__(self, totals: ProgressTotals) -> None:
        self.totals = totals
        self.videos, self.questions = totals.videos_done, totals.questions_done
        self.shards, self.written_bytes = totals.shards, totals.written_bytes
        self.failures: Counter[FailureKind] = Counter()
        self.frames = 0
        self.watch = Stopwatch()

    def add(self, done: VideoDone) -> None:
        """Count one more video."""
        self.videos += 1
        self.questions += done.questions
        self.failures.update(done.failures)
        self.frames += done.frames
        self.shards += done.shards
        self.written_bytes += done.written_bytes
        self.watch.add(done.seconds)

    @property
    def failed(self) -> int:
        """Failed rows, including unusable rows of the annotation."""
        return self.totals.failures + self.failures.total()

    def seconds_left(self, elapsed_seconds: float) -> float | None:
        """Estimate from the pace since the start; 0 at the end, None before the first video."""
        left, since_start = self.totals.videos - self.videos, self.videos - self.totals.videos_done
        if not left:
            return 0.0
        return elapsed_seconds / since_start * left if since_start else None

    def stage_shares(self) -> dict[WorkStage, float]:
        """The share of each stage in the seconds of all stages, 0 to 1; empty before the first video."""
        total = sum(self.watch.seconds.values())
        return {name: spent / total for name, spent in self.watch.seconds.items()} if total > 0 else {}


LEAST_SECONDS_BETWEEN_LINES = 10.0
MOST_SECONDS_BETWEEN_LINES = 300.0
LINES_OF_A_RUN = 20
BAR_CHARACTERS = 40


class BuildProgress:
    """Shows videos, questions, shards, failures, frames a second, bytes, time left and the slowest stage.

    A context manager. Tests replace `console` and `clock` (seconds).
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console or Console(stderr=True), clock
        self._started = self._last_line = clock()
        self._counts: ProgressCounts | None = None
        self._answer = ""
        terminal = self._console.is_terminal
        self._live = Live(get_renderable=self._render, console=self._console) if terminal else None

    def __enter__(self) -> BuildProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def start(self, totals: ProgressTotals) -> None:
        """See Observer."""
        self._started = self._last_line = self._clock()
        self._counts = ProgressCounts(totals)
        for note in totals.notes:
            self._print(note)
        if not self._live:
            before = f", {totals.videos_done} of them done before" if totals.videos_done else ""
            failed = f", {plural(totals.failures, 'failed row')}" if totals.failures else ""
            questions = plural(totals.questions, "question")
            self._print(f"{plural(totals.videos, 'video')}{before}, {questions}{failed}")

    def advance(self, done: VideoDone) -> None:
        """See Observer."""
        if self._counts is None:
            raise RuntimeError("progress: advance() was called before start()")
        self._counts.add(done)
        now = self._clock()
        elapsed = now - self._started
        if not self._live and now - self._last_line >= seconds_between_lines(elapsed):
            self._last_line = now
            self._print(progress_line(self._counts, elapsed))

    def finish(self, *, shards: int, written_bytes: int) -> None:
        """See Observer. The last line has the counts of `run.json`."""
        if self._counts is None:
            raise RuntimeError("progress: finish() was called before start()")
        self._counts.shards, self._counts.written_bytes = shards, written_bytes
        if not self._live:
            self._print(progress_line(self._counts, self._clock() - self._started))

    def say(self, text: str) -> None:
        """Answer a signal: below the live view, which is drawn again at once, or as a line."""
        self._answer = text
        if not self._live:
            say_now(text)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _render(self) -> RenderableType:
        doing = (
            Text("reading the annotation, loading the model")
            if self._counts is None
            else live_view(self._counts, self._clock() - self._started)
        )
        return Group(doing, Text(self._answer)) if self._answer else doing


def seconds_between_lines(elapsed_seconds: float) -> float:
    """The interval between log lines: ten seconds at first, then longer, so that a log of days stays
    short."""
    longer = max(elapsed_seconds / LINES_OF_A_RUN, LEAST_SECONDS_BETWEEN_LINES)
    return min(longer, MOST_SECONDS_BETWEEN_LINES)


def progress_line(counts: ProgressCounts, elapsed_seconds: float) -> str:
    """All counts on one line, for a log."""
    videos, more, left, stages = _texts(counts, elapsed_seconds)
    return ", ".join([videos, *more, left, *([stages] if stages else [])])


def live_view(counts: ProgressCounts, elapsed_seconds: float) -> RenderableType:
    """Bar, counts and stages, on one line each."""
    videos, more, left, stages = _texts(counts, elapsed_seconds)
    done = ProgressBar(total=max(counts.totals.videos, 1), completed=counts.videos, width=BAR_CHARACTERS)
    bar = Table.grid(padding=(0, 2))
    bar.add_row(done, videos, f"{_clock_time(elapsed_seconds)} so far", left)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.failures.items()))
    return Group(bar, *(Text(line) for line in (" · ".join(more), kinds, stages) if line))


def _texts(counts: ProgressCounts, elapsed_seconds: float) -> tuple[str, list[str], str, str]:
    """Videos, other counts, time left, and the slowest stage with the share of each in the seconds."""
    rate = counts.frames / elapsed_seconds if elapsed_seconds > 0 else 0.0
    more = [
        f"{counts.questions}/{counts.totals.questions} questions",
        plural(counts.shards, "shard"),
        plural(counts.failed, "failure"),
        f"{rate:.1f} frames/s",
        decimal(counts.written_bytes),
    ]
    left, shares = counts.seconds_left(elapsed_seconds), counts.stage_shares()
    listed = " ".join(f"{name} {share:.0%}" for name, share in shares.items())
    stages = f"bottleneck {max(shares, key=shares.__getitem__)} ({listed})" if shares else ""
    videos = f"{counts.videos}/{counts.totals.videos} videos"
    return videos, more, f"{'?' if left is None else _clock_time(left)} left", stages


def _clock_time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


SECONDS_BETWEEN_LINES = 10.0
Observe = Callable[[int, int, int], None]
"""Called with (shards done, shards in all, bytes done) after each shard."""


class ShardProgress:
    """A bar, or a line every ten seconds; call it with (shards done, shards in all, bytes done).

    A context manager. `verb` says what is done with the shards."""

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

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int, size_bytes: int) -> None:
        """Show that one more shard is done."""
        now = time.monotonic()
        rate = size_bytes / max(now - self._started, 1e-9)
        text = f"{self._verb}, {size_bytes / 1e6:.0f} MB, {rate / 1e6:.0f} MB/s"
        self._bar.update(self._task, completed=done, total=total, description=text)
        if not self._console.is_terminal and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._console.print(f"{done}/{total} shards {text}")
