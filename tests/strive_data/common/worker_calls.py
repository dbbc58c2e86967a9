"""What the workers of test_worker_pool.py are asked; a module of its own, since they import it by name."""

from __future__ import annotations

import ctypes
import multiprocessing.connection
import os
import signal
from pathlib import Path


class AwkwardError(Exception):
    """Cannot be unpickled: its constructor takes two."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def answer(what: str, *more: int) -> object:
    """Does what the word says."""
    match what:
        case "pid":
            return os.getpid()
        case "exit":
            os._exit(more[0])
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            ctypes.PyDLL(None).sleep(1000)  # native code that holds the interpreter's lock
        case "half":
            multiprocessing.connection.Connection._send = _half  # type: ignore[attr-defined]
            return bytes(40 << 20)
        case "defect":
            raise ZeroDivisionError("a defect of the code")
        case "os":
            raise TimeoutError("the call's own")
        case "awkward":
            raise AwkwardError("two", "words")
        case "unpicklable":
            return lambda: None
    return sum(more)


def _half(connection: multiprocessing.connection.Connection, message: memoryview) -> None:
    """Sends half of a message and dies, as a process does that the system kills."""
    os.write(connection.fileno(), bytes(message[: len(message) // 2]))
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(trace: str) -> None:
    """Dies in the first process that is prepared."""
    if not Path(trace).exists():
        Path(trace).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def die() -> None:
    """Dies in every one."""
    os._exit(3)
