"""A folder of videos, images and frames becomes a table, which builds once it is filled in."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path

import pytest

from strive_data.annotations.new_table import start_table, write_new_table
from strive_data.annotations.read import read_annotations
from strive_data.errors import UsageError


def test_the_filled_in_table_is_read_as_it_is(tmp_path: Path) -> None:
    media = tmp_path / "my videos"
    for name in (
        *("b.MP4", "a, 1/x.webm", ".hidden.mp4", ".git/y.mp4", "notes.txt", "b.mkv", "1.jpg", "2.jpg"),
        *(
            "frames/c/f_01.png",
            "frames/c/f_02.png",
            "timed/x.jpg",
            "timed/fps.txt",
            "photos/1.webp",
            "photos/cat.png",
        ),
    ):
        (media / name).parent.mkdir(parents=True, exist_ok=True)
        (media / name).write_bytes(b"no video")
    table = tmp_path / "table.csv"
    said, command = start_table(media, table)
    assert "table.csv: 3 videos, 4 images, 2 frame folders; fill in question and answer" in said
    assert "need fps" in said
    assert shlex.split(command) == [
        "strive-data",
        "build",
        f"{table}",
        "--data-root",
        f"{media}",
        "--out",
        "BUILD",
    ]
    head, *rows = csv.reader(table.read_text().splitlines())
    assert head == ["id", "video", "question", "answer", "options", "duration_seconds", "fps"]
    assert {tuple(row[2:]) for row in rows} == {("",) * 5}
    assert sorted(row[:2] for row in rows) == [
        ["1-1", "1.jpg"],
        ["2-1", "2.jpg"],
        ["a-1-x-1", "a, 1/x.webm"],
        ["b-1", "b.MP4"],
        ["b-2", "b.mkv"],
        ["frames-c-1", "frames/c"],
        ["photos-1-1", "photos/1.webp"],
        ["photos-cat-1", "photos/cat.png"],
        ["timed-1", "timed"],
    ]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(
            [head, *([*row[:2], "Who?", "red", "red | blue", "", "5" * ("frames" in row[1])] for row in rows)]
        )
    filled = read_annotations([table], media)
    assert not filled.failures
    assert [reading.unread for reading in filled.readings.values()] == [()]
    assert [q.sample_id for _, q in filled.questions] == [row[0] for row in rows]
    assert {(q.problem_type, q.answer) for _, q in filled.questions} == {("multiple choice", "A")}
    assert [q.fps for _, q in filled.questions if q.video == "frames/c"] == [5.0]


def test_a_folder_of_videos_alone_asks_for_no_rate(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_text("x")
    said, _ = start_table(tmp_path, tmp_path / "t.csv")
    assert "1 video; fill in" in said
    assert "fps" not in said
    assert (tmp_path / "t.csv").read_text().splitlines() == [
        "id,video,question,answer,options,duration_seconds",
        "x-1,x.mp4,,,,",
    ]


def test_an_untouched_table_says_what_to_fill_in(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_text("x")
    table = tmp_path / "table.csv"
    write_new_table(tmp_path, table)
    with pytest.raises(UsageError, match=r"table\.csv: question and answer are empty in every row") as caught:
        read_annotations([table], tmp_path)
    assert f"rows of {table}" in str(caught.value)
    table.write_text(table.read_text().replace("x.mp4,,", "x.mp4,Who?,"))
    with pytest.raises(UsageError, match="answer is empty in every row"):
        read_annotations([table], tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").touch()
    table = tmp_path / "table.csv"
    table.write_text("mine")
    with pytest.raises(UsageError, match=r"table\.csv: exists"):
        write_new_table(tmp_path, table)
    assert table.read_text() == "mine"
    with pytest.raises(UsageError, match=r"\.csv"):
        write_new_table(tmp_path, tmp_path / "table.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no video, image or frame folder"):
        write_new_table(tmp_path / "empty", tmp_path / "t.csv")


def test_what_a_build_would_refuse_is_left_out_and_named(tmp_path: Path) -> None:
    root, table = tmp_path / "videos", tmp_path / "t.csv"
    (root / "b").mkdir(parents=True)
    for name in ("a.mp4", "b/a.mp4", "../out.mp4"):
        (root / name).write_text("x")
    (root / "empty.mp4").touch()
    for name, to in (("in.mp4", "a.mp4"), ("out.mp4", "../out.mp4"), ("gone.mp4", "none.mp4"), ("c", "b")):
        (root / name).symlink_to(to)
    said, _ = start_table(root, table)
    assert [row.split(",")[1] for row in table.read_text().splitlines()[1:]] == ["a.mp4", "in.mp4", "b/a.mp4"]
    assert [part.partition(" (")[0] for part in said.splitlines()[0].partition("them: ")[2].split(", ")] == [
        *("c", "empty.mp4", "gone.mp4", "out.mp4"),
        "which leaves the folder)",
    ]


@pytest.mark.parametrize(("name", "mentions"), [("q.jsonl", "strive-data build"), ("x.mp4", "; as /")])
def test_a_file_that_is_no_parquet_file_says_what_to_do(tmp_path: Path, name: str, mentions: str) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(UsageError, match=rf"{name}: expected a folder .*{mentions}"):
        start_table(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()
