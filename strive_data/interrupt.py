"""Ctrl-C and SIGTERM end a command cleanly: workers are stopped, and what is unfinished is given up."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """SIGTERM came. Like KeyboardInterrupt no Exception: nothing on the way may swallow it."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated in the block when SIGTERM comes; only in the main thread."""
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_code(stop: BaseException) -> int:
    """What a shell expects of a command that a signal ended: 128 + its number."""
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
