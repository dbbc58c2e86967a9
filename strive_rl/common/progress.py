"""Progress of a run on standard error: a live line on a terminal. Elsewhere, as in a log file, plain lines:
one for a step or batch every few seconds, one for what is being done every minute in which there is none."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self, TextIO

SECONDS_BETWEEN_LINES = 5.0
SECONDS_OF_SILENCE = 60.0
# On a terminal: between two phases, which may come with every token.
SECONDS_BETWEEN_PHASES = 0.2

Part = tuple[int, str]
"""Of a line, a part and its rank: where the line is too long, parts of the highest rank go first."""
LEFT, SPEED, STEP, PHASE, OUTCOME, PROBLEM, DETAIL = range(7)
# Characters of a phase that still say what is being done: "sampling, tok…".
LEAST_OF_PHASE = 10

_open_lines: list[Line] = []
_whole: list[Callable[[], str]] = []


def phase(text: str, *, always: bool = False) -> None:
    """Show what is being done now on the progress line of this process, if there is one.

    Outside a terminal only after a minute of silence, unless `always`. May be called often.
    """
    if _open_lines:
        parts = [*(each() for each in _whole), text]
        _open_lines[-1].show_phase(", ".join(filter(None, parts)), always=always)


@contextmanager
def phases_of(whole: Callable[[], str]) -> Iterator[None]:
    """Show before each phase of the block what it is a part of, such as "held-out question 5 of 48"."""
    _whole.append(whole)
    try:
        phase("")
        yield
    finally:
        _whole.pop()


class Line:
    """One line of progress. On a terminal it is written over, and ended when the block it is used in ends."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._open = False
        self._started = self._last_line = time.monotonic()
        self._last_phase = 0.0

    def __enter__(self) -> Self:
        if os.environ.get("RANK", "0") == "0":
            _open_lines.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self in _open_lines:
            _open_lines.remove(self)
        self.end()

    def end(self) -> None:
        """End a line that is written over, so that other output begins on the next."""
        if self._open:
            self._open = False
            self._write("\n")

    def seconds_left(self, done: int, total: int) -> float:
        """At the pace so far; `done` counts from when this line was made."""
        return (time.monotonic() - self._started) / done * (total - done)

    def parts_with(self, doing: str) -> list[Part]:
        """The parts of the line while something is being done; a kind of line adds what it knows."""
        return [(PHASE, doing)]

    def show_phase(self, text: str, *, always: bool = False) -> None:
        """Show what is being done, as `phase`."""
        now = time.monotonic()
        since = now - (self._last_phase if self._live else self._last_line)
        if always or since >= (SECONDS_BETWEEN_PHASES if self._live else SECONDS_OF_SILENCE):
            self._last_phase = now
            self.show(self.parts_with(text), always=always)

    def show(self, parts: Sequence[Part], *, always: bool = False) -> None:
        """Show these parts; outside a terminal only every few seconds, unless `always`."""
        now = time.monotonic()
        if not (self._live or always or now - self._last_line >= SECONDS_BETWEEN_LINES):
            return
        self._last_line = now
        self._open = self._live
        columns = shutil.get_terminal_size().columns
        self._write(f"\r{fitted(parts, columns)}\x1b[K" if self._live else f"{joined(parts)}\n")

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
        self._record: list[Part] = []
        self._last: list[Part] = []
        self._next = ""
        self._heldout: dict[str, Any] | None = None

    def __call__(self, record: dict[str, Any], steps: int) -> None:
        """After each step, with its record."""
        self._done += 1
        left = self.seconds_left(self._done, self._done + steps - record["step"])
        evaluated = record.get("heldout")
        # A line that is written over keeps the last evaluation; in a log each has a line of its own.
        self._heldout = evaluated or (self._heldout if self._live else None)
        parts = progress_parts(record | {"heldout": self._heldout}, steps, left)
        self.show(parts, always=bool(evaluated) or self._done == 1 or record["step"] == steps)
        self._record = parts
        self._last = [part for part in parts if part[0] != STEP]
        self._next = f"step {record['step'] + 1}/{steps}" if record["step"] < steps else ""

    def parts_with(self, doing: str) -> list[Part]:
        """The step and what it is doing, before the numbers of the last step."""
        step = [(STEP, self._next)] if self._next else []
        return [*step, (PHASE, doing), *self._last]

    def end(self) -> None:
        """As any line; of a finished run the last step stays on it, not that its model was saved."""
        if self._open and self._record and not self._next:
            self.show(self._record)
        super().end()


class EvalProgress(Line):
    """Shows how many questions are done."""

    _last: Sequence[Part] = ()

    def __call__(self, done: int, total: int) -> None:
        """After each batch."""
        self._last = [
            (STEP, f"{done}/{total} answers"),
            (LEFT, f"{duration(self.seconds_left(done, total))} left"),
        ]
        self.show(self._last)

    def parts_with(self, doing: str) -> list[Part]:
        """What is done so far, and what is being done."""
        return [*self._last, (PHASE, doing)]


def quiet_libraries(*, say: bool = True) -> None:
    """No progress bars and retry notes of libraries between our own lines; their errors reach the user.

    On a terminal a line says that the libraries are loaded, which takes seconds, unless this is a worker of
    another process (`say`).
    """
    if say and sys.stderr.isatty():
        with suppress(OSError):
            sys.stderr.write("loading torch and transformers\n")
            sys.stderr.flush()
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def progress_parts(record: dict[str, Any], steps: int, seconds_left: float) -> list[Part]:
    """The line of a step's record."""
    heldout = record.get("heldout")
    return [
        (STEP, f"step {record['step']}/{steps}"),
        (OUTCOME, f"reward {_number(record['reward'])}"),
        *([(OUTCOME, f"held out {_number(heldout['accuracy'])}")] if heldout else []),
        (OUTCOME, f"accuracy {_number(record['accuracy'])}"),
        (DETAIL, f"zero advantage {_number(record['zero_advantage_share'])}"),
        (DETAIL, f"entropy {_number(record['entropy'])}"),
        (SPEED, f"{_rate(record['per_second']['tokens'])} tokens/s"),
        *([(PROBLEM, f"broken {len(record['broken'])}")] if record["broken"] else []),
        *([(PROBLEM, f"dropped {len(record['dropped'])}")] if record["dropped"] else []),
        (LEFT, f"{duration(seconds_left)} left"),
    ]


def joined(parts: Sequence[Part]) -> str:
    """The whole line."""
    return "  ".join(text for _, text in parts)


def fitted(parts: Sequence[Part], columns: int) -> str:
    """The line without the parts that a terminal of so many columns has no room for: one that wraps cannot be
    written over. What is being done is cut before it goes, and so is the last part."""
    kept = list(parts)
    while len(kept) > 1 and len(joined(kept)) >= columns:
        least = max(rank for rank, _ in kept)
        place = max(place for place, part in enumerate(kept) if part[0] == least)
        room = columns - 1 - (len(joined(kept)) - len(kept[place][1]))
        if least == PHASE and room >= LEAST_OF_PHASE:
            kept[place] = (PHASE, f"{kept[place][1][: room - 1]}…")
        else:
            del kept[place]
    text = joined(kept)
    return text if len(text) < columns else text[: max(columns - 2, 1)] + "…"


def duration(seconds: float) -> str:
    """Seconds as 42s, 3m07s or 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def _rate(value: float | None) -> str:
    """Two or three figures."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
