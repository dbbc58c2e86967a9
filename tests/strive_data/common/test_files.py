from __future__ import annotations

import errno
import json
from pathlib import Path

import polars as pl
import pytest

from strive_data.common.files import (
    DiskFullError,
    disk_full_named,
    has_room,
    is_temporary,
    near_path,
    new_folder,
    output_folder,
    replacing,
    sync_folder,
    temporary_of,
    write_bytes,
    write_json,
)
from strive_data.errors import UsageError


def test_json_is_whole_or_absent(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": "é"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": "é"}
    write_bytes(tmp_path / "a.json", b"new")
    assert (tmp_path / "a.json").read_bytes() == b"new"
    sync_folder(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"old")

    def write_half() -> None:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_bytes(b"half")
            assert is_temporary(temporary)
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_half()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_temporary_names_are_known_again() -> None:
    assert temporary_of(Path("x/a.json")) == Path("x/.a.json.tmp")
    assert is_temporary(Path("x/.a.json.tmp"))
    assert not is_temporary(Path("x/a.json.tmp"))
    assert not is_temporary(Path("x/.a.json"))


@pytest.mark.parametrize(
    ("absent", "near"),
    [
        ("videos/clp7.mp4", "videos/clip7.mp4"),
        ("videos/CLIP7.MP4", "videos/clip7.mp4"),
        ("videos/clip07.mp4", "videos/clip7.mp4"),
        ("videos/clip.mp4", "videos/clip7.mp4"),
        ("videos/clip7.webm", "videos/clip7.mp4"),
        ("videos/clip8.mp4", ""),
        ("videos/nope.mp4", ""),
        ("vidoes/clip7.mp4", "videos/clip7.mp4"),
        ("vidoes/quite_other.webm", "videos"),
        ("films/clip7.mp4", ""),
        ("videos/\0", ""),
        ("videos/" + "a" * 300, ""),
        ("elsewhere/none", ""),
    ],
)
def test_the_nearest_path_that_there_is(tmp_path: Path, absent: str, near: str) -> None:
    """Of another number it is another video."""
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "clip7.mp4").touch()
    assert near_path(tmp_path / absent) == (f", did you mean {tmp_path / near}?" if near else "")
    assert near_path(tmp_path / absent, tmp_path) == (f", did you mean {near}?" if near else "")
    assert near_path(tmp_path / "none" / absent) == ""


def test_it_is_made_and_gone_again_where_nothing_came_of_it(tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    with output_folder(out):
        assert out.is_dir()
    assert not out.exists()
    with output_folder(out):
        (out / "x").touch()
    assert out.is_dir()


def test_it_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with output_folder(tmp_path):
        with pytest.raises(UsageError, match="another process is writing there"), output_folder(tmp_path):
            pass
        (tmp_path / "x").touch()
    with output_folder(tmp_path):
        pass


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file, expected a folder"), output_folder(tmp_path / "file"):
        pass
    with pytest.raises(UsageError, match="a file is in its path"), output_folder(tmp_path / "file" / "out"):
        pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "x"),
        OSError(errno.EDQUOT, "x"),
        pl.exceptions.ComputeError("IO error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_said_as_such(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(DiskFullError, match=r"free space and start the same command again"),
        output_folder(tmp_path),
    ):
        raise error
    with pytest.raises(PermissionError), disk_full_named(tmp_path):
        raise PermissionError(errno.EACCES, "no")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO])
def test_a_folder_that_cannot_be_written_is_reported_in_one_line(tmp_path: Path, number: int) -> None:
    """Regression: a read-only file system ended in a traceback."""
    with pytest.raises(UsageError) as raised, output_folder(tmp_path):
        raise OSError(number, "Read-only file system", str(tmp_path / "run.json"))
    assert str(raised.value) == (
        f"--out {tmp_path}: Read-only file system (run.json); make the folder writable and start the same "
        "command again, or name a new one"
    )
    with pytest.raises(PermissionError), output_folder(tmp_path):
        raise PermissionError(errno.EACCES, "no", "/elsewhere/x")


@pytest.mark.parametrize("name", ["run.json", ""])
def test_a_folder_that_goes_away_meanwhile_is_reported(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"

    def lose() -> None:
        with output_folder(out):
            out.rmdir()
            (out / name).open("rb")

    with pytest.raises(UsageError, match=f"--out {out}: it was removed"):
        lose()


def test_room_is_found_by_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_room(tmp_path)

    def no_room(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr("os.fsync", no_room)
    assert not has_room(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", [".", "..", "out/.."])
def test_a_new_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(UsageError, match="expected the name of a new folder"), new_folder(Path(out)):
        pass
