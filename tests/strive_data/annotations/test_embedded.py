"""Tables that hold the bytes of videos and images, as `datasets` writes them, become files and paths."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from strive_data.annotations.new_table import start_table, write_embedded
from strive_data.annotations.read import read_annotations
from strive_data.errors import UsageError

VIDEO = b"\0\0\0\x18ftypisom" + bytes(20)


def picture(colour: str, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, kind)
    return buffer.getvalue()


def table(folder: Path, rows: list[dict[str, object]]) -> Path:
    folder.mkdir(exist_ok=True)
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(folder / "train.parquet")
    return folder / "train.parquet"


def test_images_in_a_list_are_written_once_and_read_by_the_recipe(tmp_path: Path) -> None:
    """As EasyR1's geometry3k: images, problem, answer."""
    red, blue = picture("red", "PNG"), picture("blue", "JPEG")
    rows: list[dict[str, object]] = [
        {"images": [{"bytes": content, "path": path}], "problem": "<image>What?", "answer": "3"}
        for content, path in ((red, "../../x.png"), (blue, None), (red, "y.mp4"))
    ]
    lines, count, files = write_embedded(table(tmp_path / "in", rows), tmp_path / "out")
    assert (count, files) == (3, 2)
    assert sorted(path.suffix for path in (tmp_path / "out" / "media").iterdir()) == [".jpg", ".png"]
    assert not (tmp_path / "x.png").exists()
    found = read_annotations([lines], tmp_path / "out")
    assert not found.failures
    assert [(q.answer, q.problem_type) for _, q in found.questions] == [("3", "numerical")] * 3
    contents = [(tmp_path / "out" / q.video).read_bytes() for _, q in found.questions]
    assert contents == [red, blue, red]


def test_videos_by_struct_and_as_plain_bytes(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"video": {"bytes": VIDEO, "path": "a.webm"}, "question": "Who?", "answer": "x", "more": VIDEO + b"1"}
    ]
    lines, _, files = write_embedded(table(tmp_path / "in", rows), tmp_path / "out")
    assert files == 2
    ((_, question),) = read_annotations([lines], tmp_path / "out").questions
    assert question.video.endswith(".mp4")


def test_bytes_of_no_picture_never_get_a_pictures_name(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"image": {"bytes": b"text", "path": "a.png"}, "question": "?", "answer": "x"}
    ]
    write_embedded(table(tmp_path / "in", rows), tmp_path / "out")
    (file,) = (tmp_path / "out" / "media").iterdir()
    assert file.suffix == ".bin"


def test_the_build_of_such_a_table_names_the_command(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"video": {"bytes": VIDEO, "path": "a"}, "question": "Who?", "answer": "x"}
    ]
    (failure,) = read_annotations([table(tmp_path, rows)], tmp_path).failures
    assert "strive-data init TABLE.parquet" in failure.message


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    plain = table(tmp_path / "in", [{"video": "x.mp4", "question": "Who?", "answer": "x"}])
    with pytest.raises(UsageError, match="no videos or images in it"):
        write_embedded(plain, tmp_path / "out")
    with pytest.raises(UsageError, match="an empty folder"):
        write_embedded(plain, tmp_path / "in")
    (tmp_path / "no.parquet").write_text("x")
    with pytest.raises(UsageError, match="a parquet file that holds videos"):
        start_table(tmp_path / "no.parquet", tmp_path / "new")
