from __future__ import annotations

import subprocess
import sys


def test_the_package_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "strive_rl", "--help"], capture_output=True, text=True, check=True, timeout=120
    )
    assert "Usage: " in done.stdout
    assert "train" in done.stdout
    assert done.stderr == ""
