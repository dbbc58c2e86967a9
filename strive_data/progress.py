"""Progress of a build on standard error: a live picture on a terminal, else a plain line every so often."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from strive_data.counted import counted
from strive_data.errors import FailureKind
from strive_data.observer import VideoDone, Workload
from strive_data.tally import Tally

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
        self._tally: Tally | None = None
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

    def start(self, work: Workload) -> None:
        """Before the first video."""
        self._started = self._last_line = self._clock()
        self._tally = Tally(work=work)
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


def start_line(work: Workload) -> str:
    """What there is to do, on one line."""
    before = f", {work.videos_done} of them done before" if work.videos_done else ""
    failed = f", {counted(work.failures, 'unusable row')}" if work.failures else ""
    return f"{counted(work.videos, 'video')}{before}, {counted(work.questions, 'question')}{failed}"


def progress_line(tally: Tally, elapsed_seconds: float) -> str:
    """Everything on one line, for a log."""
    parts = [f"{tally.videos_done}/{tally.work.videos} videos", *_counts(tally, elapsed_seconds)]
    stages = _stages(tally)
    return ", ".join([*parts, f"{_left(tally, elapsed_seconds)} left", *([stages] if stages else [])])


def picture(tally: Tally, elapsed_seconds: float) -> RenderableType:
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


def _counts(tally: Tally, elapsed_seconds: float) -> list[str]:
    rate = tally.frames / elapsed_seconds if elapsed_seconds > 0 else 0.0
    return [
        f"{tally.questions_done}/{tally.work.questions} questions",
        counted(tally.shards_done, "shard"),
        counted(tally.failed, "failure"),
        f"{rate:.1f} frames/s",
        decimal(tally.bytes_done),
    ]


def _kinds(failures: Mapping[FailureKind, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(failures.items()))


def _stages(tally: Tally) -> str:
    """Where the seconds go, in workers and here, and the stage that takes most."""
    shares = tally.stage_shares()
    if not shares:
        return ""
    listed = " ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return f"bottleneck {tally.bottleneck()} ({listed})"


def _left(tally: Tally, elapsed_seconds: float) -> str:
    seconds = tally.seconds_left(elapsed_seconds)
    return "?" if seconds is None else _clock_time(seconds)


def _clock_time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
