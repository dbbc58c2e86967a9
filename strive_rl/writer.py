"""Work that is done beside the training: one job at a time, its errors never lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Writer:
    """Does jobs in a thread of its own where `background`, else at once.

    A job waits for the one before it. Its error is raised by the next `do`, by `wait`, or at the end of the
    block that the writer is used in.
    """

    def __init__(self, *, background: bool) -> None:
        self._pool = ThreadPoolExecutor(1, "strive-checkpoint") if background else None
        self._pending: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown()
        if error is None:
            self.wait()

    def do(self, job: Callable[[], None]) -> None:
        """Do this job, or start it once the one before is done."""
        self.wait()
        if self._pool:
            self._pending = self._pool.submit(job)
        else:
            job()

    def wait(self) -> None:
        """Until nothing is under way."""
        pending, self._pending = self._pending, None
        if pending:
            pending.result()
