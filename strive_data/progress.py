"""Progress of a build on standard error: a live bar on a terminal, a plain line every so often elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from strive_data.observer import VideoDone, Workload

SECONDS_BETWEEN_LINES = 10.0


class BuildProgress:
    """Counts finished videos, samples and failures; use as a context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} videos"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._videos = self._done = self._samples = self._failures = 0
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> BuildProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, work: Workload) -> None:
        """Before the first video."""
        self._videos = work.videos
        self._task = self._bar.add_task(f"{work.questions} questions", total=work.videos)

    def advance(self, done: VideoDone) -> None:
        """After each video."""
        self._done += 1
        self._samples += done.questions - done.failed
        self._failures += done.failed
        if self._task is not None:
            self._bar.update(self._task, advance=1, description=self._counts())
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            left = (now - self._started) / self._done * (self._videos - self._done)
            self._console.print(f"{self._done}/{self._videos} videos, {self._counts()}, {left:.0f} s left")

    def _counts(self) -> str:
        return f"{self._samples} samples, {self._failures} failures"
