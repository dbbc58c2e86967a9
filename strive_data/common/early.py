"""A word and an exit code for a signal that comes while a command line is still being imported."""

import os
import signal
from types import FrameType

# A closed terminal sends SIGHUP, Slurm's warning is SIGUSR1.
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT)


def answer_signals() -> None:
    """From now on one that ends a process does so with a line; `console.run` answers in its own way."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    if os.environ.get("RANK", "0") == "0":
        os.write(2, f"stopped by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)
