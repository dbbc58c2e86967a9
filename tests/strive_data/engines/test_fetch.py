from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from strive_data.config import DecodeSettings
from strive_data.engines.fetch import TimedRead, fetched, own_folder
from strive_data.errors import FailureKind, SampleError, StriveError

URL = "memory://bucket/in/a.mp4"


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("strive_data.engines.fetch.gettempdir", lambda: str(tmp_path))
    fsspec.filesystem("memory").pipe_file("/bucket/in/a.mp4", b"video")
    yield
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_a_copy_is_there_while_it_is_read_with_the_ending_of_the_name() -> None:
    with fetched(URL) as copy:
        assert (copy.read_bytes(), copy.suffix) == (b"video", ".mp4")
        assert own_folder().stat().st_mode & 0o777 == 0o700
    assert list(own_folder().iterdir()) == []


def test_errors_name_the_url_and_leave_no_copy(tmp_path: Path) -> None:
    def refuse(path: Path, settings: DecodeSettings) -> None:
        raise SampleError(FailureKind.NO_MOOV, f"{path}: no moov in {path}")

    with pytest.raises(SampleError) as caught:
        TimedRead(refuse)(URL, DecodeSettings())
    assert (caught.value.kind, caught.value.message) == (FailureKind.NO_MOOV, f"{URL}: no moov in {URL}")
    assert list(own_folder().iterdir()) == []
    with pytest.raises(SampleError) as caught:
        TimedRead(refuse)("memory://bucket/in/b.mp4", DecodeSettings())
    assert (caught.value.kind, caught.value.message) == ("missing", "memory://bucket/in/b.mp4: no such file")
    with pytest.raises(SampleError, match=f"{tmp_path}/x: no moov"):
        TimedRead(refuse)(tmp_path / "x", DecodeSettings())


def test_copies_of_killed_processes_are_removed_and_those_of_others_kept() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    stale, ours = own_folder() / f"{ended.pid}.mp4", own_folder() / f"{os.getppid()}.mp4"
    stale.touch()
    ours.touch()
    assert [path.name for path in own_folder().iterdir()] == [ours.name]


def test_a_video_larger_than_the_disk_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4))
    refused = pytest.raises(
        StriveError, match=f"{URL} has 5 bytes, and .* has 4 bytes free: free space, or set TMPDIR"
    )
    with refused, fetched(URL):
        pass


def test_a_read_is_timed_where_it_happens() -> None:
    read, seconds = TimedRead(lambda path, settings: path)(Path("x"), DecodeSettings())
    assert read == Path("x")
    assert seconds >= 0
