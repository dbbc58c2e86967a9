"""Builds with the fake engine in forked processes, killed at random moments. Run as a script: it holds no
threads when it forks, and the libraries are loaded once for all.

Arguments: annotation, folder for the builds, kills wanted, seed. Prints how many builds and kills there were.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from strive_data.build import pipeline as build_module
from strive_data.build.pipeline import build
from tests.strive_data.build.test_resume import BROKEN, REFUSED
from tests.strive_data.made.engine import SETTINGS, FakeEngine, Notes


def run(annotation: Path, out: Path) -> None:
    build_module.make_engine = lambda *_, **__: FakeEngine(BROKEN, REFUSED)
    root = annotation.parent
    build([annotation], data_root=root, out=out, settings=SETTINGS, observer=Notes())


def forked(annotation: Path, out: Path) -> int:
    """Process id of a child that builds."""
    child = os.fork()
    if child == 0:
        run(annotation, out)
        os._exit(0)
    return child


def main() -> None:
    annotation, folder = Path(sys.argv[1]), Path(sys.argv[2])
    wanted, moments = int(sys.argv[3]), random.Random(int(sys.argv[4]))
    started = time.monotonic()
    os.waitpid(forked(annotation, folder / "plain"), 0)
    seconds = time.monotonic() - started
    kills = builds = 0
    while kills < wanted:
        out = folder / f"{builds}"
        while not (out / "run.json").exists():
            child = forked(annotation, out)
            time.sleep(moments.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            kills += os.WIFSIGNALED(status)
        os.waitpid(forked(annotation, out), 0)
        builds += 1
    print(builds, kills)


if __name__ == "__main__":
    main()
