"""Progress over the shards of a finished build, on standard error: a bar, or a plain line every so often."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

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
