"""Real processes, really killed, and a real file system that is full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from strive_data.demo.draw import write_world
from tests.strive_data.build.killed_build import command, killed_after, stopped_when
from tests.strive_data.build.test_resume import content
from tests.strive_data.made.engine import write_annotation

ROOT = Path(__file__).parents[3]
SHARDS = ["--set", "shard.max_samples=3"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"), videos=8, questions_per_video=2, seed=7)


@pytest.fixture(scope="module")
def wanted(world: Path) -> dict[str, object]:
    """What an uninterrupted build leaves."""
    assert killed_after(command(world, world.parent / "wanted", *SHARDS, "--workers", 1), 600) == 0
    return content(world.parent / "wanted")


@pytest.mark.slow
def test_killed_at_twenty_random_moments(tmp_path: Path) -> None:
    """Kill after kill in one folder until its build is finished, then the next folder."""
    annotation = write_annotation(tmp_path / "data", "aabcbbdedffgghh")
    script = [sys.executable, "-m", "tests.strive_data.build.forked_builds", annotation, tmp_path, "20", "0"]
    done = subprocess.run([*map(str, script)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    builds, kills = map(int, done.stdout.split())
    assert kills >= 20
    assert builds >= 2
    expected = content(tmp_path / "plain")
    for number in range(builds):
        assert content(tmp_path / str(number)) == expected


@pytest.mark.slow
def test_the_command_is_killed_and_started_again_with_other_workers(
    world: Path, wanted: dict[str, object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    build = command(world, out, *SHARDS, "--workers", 1)
    code, _ = stopped_when(build, out / ".shard-000002.tar.tmp", signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (out / "run.json").exists()
    assert killed_after(command(world, out, *SHARDS, "--workers", 2), 600) == 0
    assert content(out) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_one_line(world: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    code, errors = stopped_when(
        command(world, out, *SHARDS, "--workers", 1), out / "shard-000000.json", number
    )
    said = f"stopped: finished shards are kept in {out}; start the same command again to continue"
    assert (code, errors.splitlines()[-1]) == (128 + number, said)
    assert "Traceback" not in errors
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 KB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_build_goes_on_when_there_is_room(
    world: Path, wanted: dict[str, object], small_disk: Path
) -> None:
    out = small_disk / "out"
    build = command(world, out, *SHARDS, "--workers", 1)
    done = subprocess.run(build, capture_output=True, text=True)
    said = f"error: disk full: no room left to write {out}; free space and start the same command again"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, said)
    assert "Traceback" not in done.stderr
    assert (out / "shard-000000.json").exists()
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "kept from earlier starts" in done.stdout
    assert content(out) == wanted
