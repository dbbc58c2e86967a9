"""A folder of videos becomes a table, which builds once it is filled in."""

from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.annotations.new_table import write_new_table
from strive_data.annotations.read import read_annotations
from strive_data.errors import UsageError


def test_the_filled_in_table_is_read_as_it_is(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for name in ("b.MP4", "a, 1/x.webm", ".hidden.mp4", ".git/y.mp4", "notes.txt"):
        (videos / name).parent.mkdir(parents=True, exist_ok=True)
        (videos / name).write_bytes(b"no video")
    table = tmp_path / "table.csv"
    assert write_new_table(videos, table) == 2
    lines = table.read_text().splitlines()
    assert lines == ["video,question,answer,options,duration_seconds", "b.MP4,,,,", '"a, 1/x.webm",,,,']
    table.write_text(f'{lines[0]}\nb.MP4,Who?,red,red | blue,\n"a, 1/x.webm",How many?,3,,\n')
    filled = read_annotations([table], videos)
    assert not filled.failures
    assert [(q.video, q.problem_type, q.answer) for _, q in filled.questions] == [
        ("b.MP4", "multiple choice", "A"),
        ("a, 1/x.webm", "numerical", "3"),
    ]


def test_an_untouched_table_says_what_to_fill_in(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").touch()
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
    with pytest.raises(UsageError, match="no video"):
        write_new_table(tmp_path / "empty", tmp_path / "t.csv")
