from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.errors import UsageError
from strive_rl.benchmarks.predictions import read_records, text_key, video_key


def test_videos_are_reported_by_their_name_and_questions_by_their_words() -> None:
    assert video_key("./videos/AbC.mp4") == video_key("abc.MKV") == video_key("data\\abc") == "abc"
    assert text_key("Who\nruns?", ("A. he", "(B) she")) == text_key("who runs\nA) he\nB. she")
    assert text_key("Who runs?") != text_key("Who ran?")


def test_a_list_lines_and_an_object(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('[{"a": 1}, 2]')
    records = read_records(file)
    assert (records.rows, records.bad) == ((("p.json item 1", {"a": 1}),), ("p.json item 2: no JSON object",))
    file.write_bytes('\ufeff{"a": "x\u2028y"}\n\n{"b": 2}\n{"cut'.encode())
    records = read_records(file)
    assert [row for _, row in records.rows] == [{"a": "x\u2028y"}, {"b": 2}]
    assert records.bad == ("p.json line 4: no JSON object",)
    file.write_text('{"results": []}')
    assert read_records(file).tree == {"results": []}


@pytest.mark.parametrize("body", ["", "[]", "words", "[1, 2]"])
def test_a_file_without_an_object_is_refused(tmp_path: Path, body: str) -> None:
    file = tmp_path / "p.json"
    file.write_text(body)
    with pytest.raises(UsageError, match="no JSON object in it"):
        read_records(file)
    with pytest.raises(UsageError, match="No such file"):
        read_records(tmp_path / "absent")


def test_rows_of_a_list_within_the_file(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_text('{"results": [{"a": 1}, 3, {"a": 2}]}')
    records = read_records(file)
    assert records.listed("results") == (("out.json results[0]", {"a": 1}), ("out.json results[2]", {"a": 2}))
    assert records.listed("logs") == records.rows
