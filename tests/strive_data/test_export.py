from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest

from strive_data.errors import UsageError
from strive_data.export import as_json, check_out, write_rows

ROWS = {
    "name": ['with "quotes", and comma', "line\nbreak", None],
    "spans": [[[0.5, 1.0], [2.0, 3.25]], [], None],
    "texts": [['a "b"', "ü}"], ["{}"], []],
    "score": [0.25, None, -1.0],
}
SCHEMA = {"name": pl.String, "spans": pl.List(pl.List(pl.Float64)), "texts": pl.List(pl.String)}


def table() -> pl.LazyFrame:
    return pl.LazyFrame(ROWS, schema=SCHEMA | {"score": pl.Float64})


def test_a_csv_holds_lists_as_json_text(tmp_path: Path) -> None:
    out = tmp_path / "new" / "t.csv"
    assert write_rows(table(), out) == ["spans", "texts"]
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [ROWS["name"][0], ROWS["name"][1], ""]
    assert [json.loads(row["texts"]) for row in rows] == ROWS["texts"]
    assert [json.loads(row["spans"]) for row in rows[:2]] == ROWS["spans"][:2]
    assert rows[2]["spans"] == ""
    assert [path.name for path in out.parent.iterdir()] == ["t.csv"]


def test_a_parquet_keeps_the_types(tmp_path: Path) -> None:
    assert write_rows(table(), tmp_path / "t.parquet") == []
    assert pl.read_parquet(tmp_path / "t.parquet").equals(table().collect())


def test_json_of_a_list_by_hand() -> None:
    made = pl.DataFrame({"l": [[1, 2], None, []]}, schema={"l": pl.List(pl.Int32)}).select(as_json("l"))
    assert made["l"].to_list() == ["[1,2]", None, "[]"]


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.csv or \.parquet"):
        check_out(tmp_path / "t.xlsx")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UsageError, match="the folder is a build"):
        check_out(tmp_path / "samples.parquet")
    check_out(tmp_path / "samples.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_rows(table(), tmp_path / "file" / "t.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        write_rows(table(), tmp_path / "folder.csv")
