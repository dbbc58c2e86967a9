"""Progress of a build, a verification and a merge on standard error.

A build keeps BuildCounts and says when they have changed; BuildProgress shows them, live on a terminal,
otherwise as a line at growing intervals.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from strive_data.common.signals import say_now
from strive_data.common.text import plural
from strive_data.engines.engine import Stopwatch, WorkStage
from strive_data.errors import FailureKind


@dataclass(kw_only=True)
class BuildCounts:
    """What a build has done, all of its starts together, of the `videos_total` and `questions_total` of the
    annotation. `questions_total` and `questions` leave out unusable rows; `videos_before` of the videos were
    done by earlier starts.

    `failed_before` are unusable rows of the annotation and failures of earlier starts; `failures` by kind,
    `frames` (decoded candidates), `watch`, videos from the cache and its damaged entries are those of this
    start. `written_bytes` are those of committed shards, and of the samples in the open one. Stages run in
    parallel, so the seconds of `watch` may exceed the wall clock.
    """

    videos_total: int
    questions_total: int
    videos: int = 0
    questions: int = 0
    shards: int = 0
    written_bytes: int = 0
    failed_before: int = 0
    failures: Counter[FailureKind] = field(default_factory=Counter)
    frames: int = 0
    watch: Stopwatch = field(default_factory=Stopwatch)
    cached_videos: int = 0
    damaged_entries: list[Path] = field(default_factory=list)
    videos_before: int = field(init=False)

    def __post_init__(self) -> None:
        self.videos_before = self.videos

    @property
    def failed(self) -> int:
        """All failed rows."""
        return self.failed_before + self.failures.total()

    def seconds_left(self, elapsed_seconds: float) -> float | None:
        """Estimate from the pace since the start; 0 at the end, None before the first video."""
        left, since_start = self.videos_total - self.videos, self.videos - self.videos_before
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
        self._counts: BuildCounts | None = None
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

    def start(self, counts: BuildCounts, notes: Sequence[str]) -> None:
        """Show the notes, and from now on these counts, which the build keeps up to date."""
        self._started = self._last_line = self._clock()
        self._counts = counts
        for note in notes:
            self._print(note)
        if not self._live:
            before = f", {counts.videos} of them done before" if counts.videos else ""
            failed = f", {plural(counts.failed, 'failed row')}" if counts.failed else ""
            questions = plural(counts.questions_total, "question")
            self._print(f"{plural(counts.videos_total, 'video')}{before}, {questions}{failed}")

    def advance(self) -> None:
        """Called after each video."""
        now = self._clock()
        if now - self._last_line >= seconds_between_lines(now - self._started):
            self._last_line = now
            self.finish()

    def finish(self) -> None:
        """Called once `run.json` is written."""
        if self._counts and not self._live:
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


def progress_line(counts: BuildCounts, elapsed_seconds: float) -> str:
    """All counts on one line, for a log."""
    videos, more, left, stages = _texts(counts, elapsed_seconds)
    return ", ".join([videos, *more, left, *([stages] if stages else [])])


def live_view(counts: BuildCounts, elapsed_seconds: float) -> RenderableType:
    """Bar, counts and stages, on one line each."""
    videos, more, left, stages = _texts(counts, elapsed_seconds)
    done = ProgressBar(total=max(counts.videos_total, 1), completed=counts.videos, width=BAR_CHARACTERS)
    bar = Table.grid(padding=(0, 2))
    bar.add_row(done, videos, f"{_clock_time(elapsed_seconds)} so far", left)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.failures.items()))
    return Group(bar, *(Text(line) for line in (" · ".join(more), kinds, stages) if line))


def _texts(counts: BuildCounts, elapsed_seconds: float) -> tuple[str, list[str], str, str]:
    """Videos, other counts, time left, and the slowest stage with the share of each in the seconds."""
    rate = counts.frames / elapsed_seconds if elapsed_seconds > 0 else 0.0
    more = [
        f"{counts.questions}/{counts.questions_total} questions",
        plural(counts.shards, "shard"),
        plural(counts.failed, "failure"),
        f"{rate:.1f} frames/s",
        decimal(counts.written_bytes),
    ]
    left, shares = counts.seconds_left(elapsed_seconds), counts.stage_shares()
    listed = " ".join(f"{name} {share:.0%}" for name, share in shares.items())
    stages = f"bottleneck {max(shares, key=shares.__getitem__)} ({listed})" if shares else ""
    videos = f"{counts.videos}/{counts.videos_total} videos"
    return videos, more, f"{'?' if left is None else _clock_time(left)} left", stages


def _clock_time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


SECONDS_BETWEEN_LINES = 10.0
Observe = Callable[[int, int, int], None]
"""Called with (shards done, shards in all, bytes done) after each shard."""


@contextmanager
def shard_progress(verb: str) -> Iterator[Observe]:
    """A bar, or a line every ten seconds, of shards with which is done what `verb` says."""
    console = Console(stderr=True)
    started = last_line = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} shards"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(verb, total=None)

        def show(done: int, total: int, size_bytes: int) -> None:
            nonlocal last_line
            now = time.monotonic()
            rate = size_bytes / max(now - started, 1e-9)
            text = f"{verb}, {size_bytes / 1e6:.0f} MB, {rate / 1e6:.0f} MB/s"
            bar.update(task, completed=done, total=total, description=text)
            if not console.is_terminal and now - last_line >= SECONDS_BETWEEN_LINES:
                last_line = now
                console.print(f"{done}/{total} shards {text}")

        yield show
