"""Progress of a run on standard error: a live line on a terminal, a plain one every few seconds elsewhere."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from contextlib import suppress
from typing import Any, Self, TextIO

SECONDS_BETWEEN_LINES = 5.0


class Line:
    """One line of progress. On a terminal it is written over, and ended when the block it is used in ends."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._open = False
        self._started = self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            self._write("\n")

    def seconds_left(self, done: int, total: int) -> float:
        """At the pace so far; `done` counts from when this line was made."""
        return (time.monotonic() - self._started) / done * (total - done)

    def show(self, text: str, *, always: bool = False) -> None:
        """Show this text; outside a terminal only every few seconds, unless `always`."""
        now = time.monotonic()
        if not (self._live or always or now - self._last_line >= SECONDS_BETWEEN_LINES):
            return
        self._last_line = now
        self._open = self._live
        self._write(f"\r{_fitting(text)}\x1b[K" if self._live else text + "\n")

    def _write(self, text: str) -> None:
        # A log on a full disk, or a terminal that was closed, must not end a run.
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


class TrainProgress(Line):
    """Shows step, reward, accuracy, share of zero-advantage questions, entropy, speed and time left."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._done = 0

    def __call__(self, record: dict[str, Any], steps: int) -> None:
        """After each step, with its record."""
        self._done += 1
        left = self.seconds_left(self._done, self._done + steps - record["step"])
        ends = self._done == 1 or record["step"] == steps
        self.show(progress_line(record, steps, left), always=ends)


class EvalProgress(Line):
    """Shows how many questions are done."""

    def __call__(self, done: int, total: int) -> None:
        """After each batch."""
        self.show(f"{done}/{total} answers  {duration(self.seconds_left(done, total))} left")


def quiet_libraries() -> None:
    """No progress bars and retry notes of libraries between our own lines; their errors reach the user."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def progress_line(record: dict[str, Any], steps: int, seconds_left: float) -> str:
    """One line of text for a step's record."""
    shown = [
        f"step {record['step']}/{steps}",
        f"reward {_number(record['reward'])}",
        f"accuracy {_number(record['accuracy'])}",
        *([f"held out {_number(record['heldout']['accuracy'])}"] if "heldout" in record else []),
        f"zero advantage {_number(record['zero_advantage_share'])}",
        f"entropy {_number(record['entropy'])}",
        f"{_rate(record['per_second']['tokens'])} tokens/s",
        *([f"broken {len(record['broken'])}"] if record["broken"] else []),
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


def _fitting(text: str) -> str:
    """Cut to the terminal's width: a line that wraps cannot be written over."""
    columns = shutil.get_terminal_size().columns
    return text if len(text) < columns else text[: max(columns - 2, 1)] + "…"


def _rate(value: float | None) -> str:
    """Two or three figures."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
