"""Signals that end a process: a line for each, in a second one at once, and the exit code.

Imported before all else of a command line, so it imports little itself.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event
from types import FrameType

from strive_data.errors import Terminated

# A closed terminal sends SIGHUP, Slurm's warning is SIGUSR1.
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT)
GIVE_UP = Event()
"""Set by a signal that ends the process: no request to a storage is made again."""
SHOW_CURSOR = "\x1b[?25h"


def answer_signals() -> None:
    """From now on one that ends a process does so with a line; `console.run` answers in its own way."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    if os.environ.get("RANK", "0") == "0":
        os.write(2, f"stopped by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Call this in the block for each signal of ENDING; for the main thread only. SIGHUP stays ignored where
    it is, as under nohup."""
    nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    numbers = [each for each in ENDING if not (nohup and each == signal.SIGHUP)]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def say_now(text: str) -> None:
    """A line on standard error from a signal handler, which may have interrupted a write to the stream."""
    with suppress(OSError, ValueError):
        os.write(sys.stderr.fileno(), f"\n{text}\n".encode())


@contextmanager
def terminable(say: Callable[[str], None] = say_now, *, interrupts: bool = True) -> Iterator[None]:
    """In the block a signal of ENDING is answered at once by `say` and raises Terminated, or
    KeyboardInterrupt for SIGINT where it `interrupts`. A second one ends the process."""

    def stop(number: int, frame: FrameType | None) -> None:
        if GIVE_UP.is_set():
            end_by(number)
        GIVE_UP.set()
        say(f"{signal.Signals(number).name}: stopping; again to stop now")
        raise KeyboardInterrupt if interrupts and number == signal.SIGINT else Terminated(number)

    with handling(stop):
        try:
            yield
        finally:
            GIVE_UP.clear()


def end_by(number: int) -> None:
    """End the process by this signal. A terminal gets back the cursor that a live view hides."""
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            os.write(sys.stderr.fileno(), SHOW_CURSOR.encode())
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def exit_code(stop: BaseException) -> int:
    """The exit code that shells expect of a command ended by a signal: 128 + its number."""
    return stop.exit_code if isinstance(stop, Terminated) else 128 + signal.SIGINT
