"""Progress of a run on standard error: a live line on a terminal, a plain one every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

SECONDS_BETWEEN_LINES = 5.0


class TrainProgress:
    """Shows step, reward, accuracy, share of zero-advantage questions and time left."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._started = self._last_line = time.monotonic()
        self._done = 0

    def __call__(self, record: dict[str, Any], steps: int) -> None:
        """After each step, with its record."""
        self._done += 1
        now = time.monotonic()
        last = record["step"] == steps
        if not (self._live or last or self._done == 1 or now - self._last_line >= SECONDS_BETWEEN_LINES):
            return
        self._last_line = now
        seconds_left = (now - self._started) / self._done * (steps - record["step"])
        line = progress_line(record, steps, seconds_left)
        self._stream.write(f"\r{line}\x1b[K" + ("\n" if last else "") if self._live else line + "\n")
        self._stream.flush()


class EvalProgress:
    """Shows how many answers are there, every few seconds."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._started = self._last_line = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """After each batch."""
        now = time.monotonic()
        if not (self._live or now - self._last_line >= SECONDS_BETWEEN_LINES):
            return
        self._last_line = now
        line = f"{done}/{total} answers  {duration((now - self._started) / done * (total - done))} left"
        end = "\n" if done == total else ""
        self._stream.write(f"\r{line}\x1b[K{end}" if self._live else line + "\n")
        self._stream.flush()


def progress_line(record: dict[str, Any], steps: int, seconds_left: float) -> str:
    """One line of text for a step's record."""
    shown = [
        f"step {record['step']}/{steps}",
        f"reward {_number(record['reward'])}",
        f"accuracy {_number(record['accuracy'])}",
        f"zero advantage {_number(record['zero_advantage_share'])}",
        *([f"dropped {len(record['dropped'])}"] if record["dropped"] else []),
        f"{duration(seconds_left)} left",
    ]
    return "  ".join(shown)


def duration(seconds: float) -> str:
    """Seconds as 42s, 3m07s or 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
