"""`strive-data build` in a process of its own, killed from outside."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

SMALL = ["--scorer", "demo", "--candidates", "8", "--frames", "4", "--set", "decode.max_pixels=784"]
PROGRAM = Path(sys.executable).parent / "strive-data"


def command(world: Path, out: Path, *more: object) -> list[str]:
    arguments = ["build", world, "--data-root", world.parent, "--out", out, *SMALL, *more]
    return [str(PROGRAM), *map(str, arguments)]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed_after(arguments: list[str], seconds: float) -> int:
    """Exit code of the process, killed after some seconds unless it was done before."""
    process = start(arguments)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process.returncode


def stopped_when(arguments: list[str], seen: Path, number: signal.Signals) -> tuple[int, str]:
    """Exit code and error output of the process, sent a signal once there is a file `seen`."""
    process = start(arguments)
    while not seen.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate()
    return process.returncode, errors
