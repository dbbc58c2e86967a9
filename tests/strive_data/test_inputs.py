from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from strive_data.annotations import read_annotations
from strive_data.errors import FailureKind, UsageError
from strive_data.inputs import read_inputs, video_root
from tests.strive_data.fake_engine import write_annotation

URL = "memory://bucket/in/rows.jsonl"


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    yield fsspec.filesystem("memory")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def test_an_annotation_behind_a_url_is_read_as_the_file_is(
    memory: fsspec.AbstractFileSystem, tmp_path: Path
) -> None:
    local = write_annotation(tmp_path / "in", "aab")
    memory.pipe_file("/bucket/in/rows.jsonl", local.read_bytes() + b"not JSON\n")
    local.write_bytes(memory.cat_file("/bucket/in/rows.jsonl"))
    ours, theirs = read_inputs([URL], tmp_path / "in"), read_annotations([local], tmp_path / "in")
    assert (ours.questions, ours.failures) == (theirs.questions, theirs.failures)
    assert ours.input_sha256 == {URL: theirs.input_sha256[local.as_posix()]}
    assert list(ours.readings) == [URL]


def test_one_annotation_named_twice_is_read_twice(tmp_path: Path) -> None:
    local = write_annotation(tmp_path / "in", "aa")
    rows = read_inputs([local, local], tmp_path / "in")
    assert [failure.kind for failure in rows.failures] == [FailureKind.DUPLICATE_ID] * 2


def test_errors_name_the_url(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"annotation {URL}: no such file"):
        read_inputs([URL], tmp_path)
    memory.pipe_file("/bucket/in/rows.jsonl", b" ")
    with pytest.raises(UsageError, match=f"annotation {URL} is empty"):
        read_inputs([URL], tmp_path)


@pytest.mark.parametrize(
    "video", ["../x.mp4", "/x.mp4", "https://host/x.mp4", "s3://other/x.mp4", "a\\b.mp4"]
)
def test_a_row_leads_nowhere_but_below_a_root_behind_a_url(tmp_path: Path, video: str) -> None:
    annotation = tmp_path / "rows.csv"
    annotation.write_text(f"video,question,answer\nok.mp4,Q?,A\n{video},Q?,A\n")
    rows = read_inputs([annotation], "s3://bucket/videos")
    assert [question.video for _, question in rows.questions] == ["ok.mp4"]
    assert [failure.kind for failure in rows.failures] == [FailureKind.OUTSIDE_ROOT]


def test_a_root_that_is_not_there_or_seen_by_this_process_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        video_root(tmp_path / "none")
    with pytest.raises(UsageError, match="other processes read the videos"):
        video_root("memory://bucket")
    with pytest.raises(UsageError, match="pipe: runs a command"):
        video_root("pipe:ls")
    assert video_root(f"file://{tmp_path}") == tmp_path
    assert video_root("https://host/videos/") == "https://host/videos"
