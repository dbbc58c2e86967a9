"""Fixtures shared by all tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: these machines are noisy, and no test here is about time.
settings.register_profile("strive", deadline=None)
settings.load_profile("strive")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real videos, questions and benchmark files; tests that use it skip where it is absent."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STRIVE_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent (set STRIVE_SHARED_DATA)")
    return folder


# All lines of a command in one process, where importing one of some packages is an error.
TYPED = """
import contextlib, io, json, sys
package, absent, commands = json.load(sys.stdin)
sys.modules.update(dict.fromkeys(absent))
main = __import__(package + ".cli", fromlist=["main"]).main
for arguments in commands:
    sys.argv = [package.replace("_", "-"), *arguments]
    shown, code = io.StringIO(), None
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
        try:
            main()
        except SystemExit as end:
            code = end.code
    print(json.dumps([code, shown.getvalue()]))
"""


def typed_without(
    absent: Sequence[str], package: str, commands: Iterable[Sequence[object]], cwd: Path | None = None
) -> list[tuple[int, str]]:
    """Exit code and output of each command line of `package`, without the packages `absent`."""
    done = subprocess.run(
        [sys.executable, "-c", TYPED],
        input=json.dumps([package, absent, [[str(part) for part in command] for command in commands]]),
        capture_output=True,
        text=True,
        check=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    return [(code, shown) for code, shown in map(json.loads, done.stdout.splitlines())]
