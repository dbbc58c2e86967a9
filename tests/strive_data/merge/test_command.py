"""`merge` and `verify` as they are typed: what they print, and their exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample


def strive_data(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "strive-data"
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


def test_builds_are_joined_verified_and_found_damaged(tmp_path: Path) -> None:
    first = write_build(tmp_path / "a", [a_sample("1"), a_sample("2")])
    second = write_build(tmp_path / "b", [a_sample("2"), a_sample("3")])
    out = tmp_path / "all"
    joined = strive_data("merge", first, second, "--out", out)
    assert (joined.returncode, joined.stderr) == (0, "")
    assert joined.stdout.splitlines() == [
        f"{out}: 3 samples of 1 video in 2 shards, 0 failures, of 2 builds",
        "  stood in several builds, taken once: 1 sample",
    ]
    # Regression: the second was counted as taken once, and nothing told that a version of it was dropped.
    other = write_build(tmp_path / "c", [a_sample("1", count=12), a_sample("2")])
    chosen = strive_data("merge", first, other, "--out", tmp_path / "two", "--duplicates", "first")
    assert chosen.stdout.splitlines()[1:] == [
        "  stood in several builds, taken once: 1 sample",
        f"  had other content in a later build, dropped there: 1 sample: '1' in {first} and {other}",
    ]
    sound = strive_data("verify", out, "--workers", 1)
    assert sound.returncode == 0
    assert sound.stdout.startswith(f"{out}: nothing wrong; read 2 shards, 3 samples, ")
    (out / "shard-000001.tar").unlink()
    damaged = strive_data("verify", out, "--workers", 1)
    assert damaged.returncode == 1
    assert damaged.stdout.startswith(f"{out}/shard-000001.tar: there is no such file, but its manifest is")
    assert "problems; read 2 shards" in damaged.stdout.splitlines()[-1]
    again = strive_data("merge", first, second, "--out", out, "--duplicates", "last")
    assert again.returncode == 2
    assert again.stderr == "error: unknown --duplicates 'last'; known: first, refuse\n"
