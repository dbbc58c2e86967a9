from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from strive_data.errors import FailureKind, SettingsError, UsageError
from strive_data.inspect.tables import (
    SHOWN_ROWS,
    as_json,
    build_overview,
    check_out,
    sample_ids,
    sample_overview,
    scan,
    select_rows,
    table_rows,
    write_rows,
)
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_failure, a_sample

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


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = [a_sample(f"s{i}", count=10 + i) for i in range(4)]
    return write_build(tmp_path_factory.mktemp("query") / "b", samples)


def test_a_condition_keeps_its_rows_and_columns_their_order(build: Path) -> None:
    rows = select_rows(
        build, "frames", where="candidate >= 9 AND NOT uniform", columns=["time", "sample_id"]
    ).collect()
    table = pl.read_parquet(build / "frames.parquet")
    expected = [
        (row["time"], row["sample_id"])
        for row in table.rows(named=True)
        if row["candidate"] >= 9 and not row["uniform"]
    ]
    assert expected
    assert rows.columns == ["time", "sample_id"]
    assert rows.rows() == expected


def test_lists_and_text_can_be_asked_for(build: Path) -> None:
    assert sample_ids(build) == ["s0", "s1", "s2", "s3"]
    assert sample_ids(build, "sample_id LIKE 's%' AND candidates BETWEEN 11 AND 12") == ["s1", "s2"]
    assert sample_ids(build, "array_contains(options, 'A. BUS') AND sample_id = 's3'") == ["s3"]
    assert sample_ids(build, "question = 'select'") == []
    both = select_rows(build, "frames", where="array_contains(variants, 0) AND array_contains(variants, 1)")
    assert set(map(tuple, both.collect()["variants"].to_list())) == {(0, 1)}


def test_one_sample_of_any_table(build: Path) -> None:
    assert select_rows(build, "frames", sample="s2").collect().height == 12
    assert select_rows(build, "index", sample="s2").collect().height == 1


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("candidates >", "pars"),
        ("", "pars"),
        ("candidate > 1", "'candidate' is no column"),
        ("candidates", "must be of type `Boolean`"),
        ("question > 1", "cannot compare"),
        ("candidates > 1; DROP TABLE x", "cannot read '; DROP"),
        ("frobnicate(candidates)", "'frobnicate' is no column and no function"),
        ("candidates > 1 -- x", "comments"),
        ("candidates > 1 /* x */", "'x' is no column"),
        ("*", "unable to parse"),
        ("candidates > 1" + " OR candidates > 1" * 200, "at most 2000"),
    ],
)
def test_an_invalid_condition_is_one_line_that_names_the_columns(build: Path, where: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        select_rows(build, "samples", where=where)
    message = str(caught.value)
    assert "duration_seconds" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "where",
    [
        "EXISTS (SELECT * FROM read_csv('{secret}'))",
        "sample_id IN (select a FROM read_csv('{secret}'))",
        "sample_id = (SELECT a FROM '{secret}')",
        "read_csv('{secret}') IS NOT NULL",
        "sample_id IN (TABLE '{secret}')",
        "sample_id IN (FROM read_csv('{secret}'))",
        "sample_id IN (VALUES ('s1'))",
        "EXISTS (TABLE secret)",
        "sample_id IN (WITH x AS (SELECT 1) SELECT 2)",
        "LPAD(question, 100000000000, 'x') = 'y'",
        "REPEAT(question, 100000000000) = 'y'",
        "CONCAT(question, question) = 'y'",
        "CAST(question AS INT) > 1",
        "question ~ '(a+)+'",
        '"read_csv"(question) = 1',
        "`question` = 'x'",
        "$$question$$ = 'x'",
    ],
)
def test_a_condition_reads_no_file_and_builds_no_text(build: Path, tmp_path: Path, where: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\ns1\n")
    with pytest.raises(UsageError):
        select_rows(build, "samples", where=where.format(secret=secret))


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("candidates * 2 >= 24 AND NOT (sample_id = 's3')", ["s2"]),
        ("UPPER(sample_id) IN ('S0', 'S1') OR \"candidates\" = 13", ["s0", "s1", "s3"]),
        ("duration_seconds BETWEEN 11 AND 1.2e1", ["s1", "s2"]),
        ("question IS NOT NULL AND sample_id <> 's0' AND LENGTH(question) > 3", ["s1", "s2", "s3"]),
        ("sample_id = 'it''s' OR ends_with(sample_id, '2')", ["s2"]),
        ("question = 'select -- FROM'", []),
    ],
)
def test_columns_literals_comparisons_and_named_functions_are_admitted(
    build: Path, where: str, ids: list[str]
) -> None:
    assert sample_ids(build, where) == ids


def test_a_spreadsheet_runs_no_cell_of_a_csv(tmp_path: Path) -> None:
    texts = ["=HYPERLINK(1)", "@SUM", "+1+1|cmd", "-2", "\tx", "plain = 1", None]
    write_rows(pl.LazyFrame({"text": texts, "number": [-1.5] * 7}), tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [f"'{text}" for text in texts[:5]] + ["plain = 1", ""]
    assert {row["number"] for row in rows} == {"-1.5"}


@pytest.mark.parametrize("columns", [80, 60, 200])
def test_what_is_printed_fits_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    failure = a_failure(video="v" * 90, message="cut off " * 30)
    build = write_build(tmp_path / "b", [a_sample("1"), a_sample("2")], failures=[failure])
    texts = [build_overview(build), sample_overview(build, "1")]
    texts += [table_rows(build, table) for table in ("samples", "frames", "failures", "index")]
    for line in "\n".join(texts).splitlines():
        assert len(line) <= columns
    assert "".join(table_rows(build, "failures").split()).count("cutoff" * 30) == (columns < 200)


def test_unknown_names_samples_and_folders_are_refused(build: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'frames'"):
        scan(build, "frame")
    with pytest.raises(SettingsError, match="unknown column of samples 'ids'"):
        select_rows(build, "samples", columns=["ids"])
    with pytest.raises(SettingsError, match="unknown sample 's9'"):
        select_rows(build, "frames", sample="s9")
    with pytest.raises(SettingsError, match="unknown sample 's9'; known: s0, "):
        sample_overview(build, "s9")
    with pytest.raises(UsageError, match="no such folder"):
        scan(tmp_path / "none", "samples")
    with pytest.raises(UsageError, match="no such folder"):
        build_overview(tmp_path / "none")


def test_the_overview_counts_and_lists_failures(tmp_path: Path) -> None:
    failure = a_failure(kind=FailureKind.NO_MOOV, message="cut off")
    text = build_overview(write_build(tmp_path / "b", [a_sample("1"), a_sample("2")], failures=[failure]))
    assert "2 samples, 1 video, 2 tried videos, 1 shard, 1 failure" in " ".join(text.split())
    assert "multiple choice" in text
    assert "no_moov" in text
    assert "cut off" in text


def test_one_sample_is_shown_with_every_candidate(build: Path) -> None:
    text = sample_overview(build, "s2")
    assert "question: Which sign is on the roof?" in text
    rows = [line.split("┆") for line in text.splitlines() if "┆" in line][1:]
    sample = a_sample("s2", count=12)
    taken = [str([m for m in range(2) if i in sample.variants[m]]) for i in range(12)]
    assert [(row[0].strip("│ "), row[-2].strip()) for row in rows] == [
        (str(i), variants) for i, variants in enumerate(taken)
    ]


def test_failures_are_counted_by_kind_and_listed_when_asked(tmp_path: Path) -> None:
    kinds = [FailureKind.MISSING] * 3 + [FailureKind.TIMEOUT]
    failures = [a_failure(f"x{i}", kind, message=f"reason {i}") for i, kind in enumerate(kinds)]
    build = write_build(tmp_path / "b", [a_sample("1")], failures=failures)
    text = build_overview(build)
    assert [line.split("┆")[2].strip() for line in text.splitlines() if "decode " in line] == ["3", "1"]
    assert "reason 2" not in text
    listed = table_rows(build, "failures")
    assert all(f"reason {row}" in listed for row in range(4))
    assert listed.endswith("4 of 4 rows of failures")


def test_a_failures_message_does_not_repeat_the_path_on_the_screen(tmp_path: Path) -> None:
    why = "no video format that is read"
    place = "/a/root/with/a/long/name/that/would/fill/the/column/deep/v.mp4"
    failure = a_failure(video="deep/v.mp4", kind=FailureKind.NOT_MEDIA, message=f"{place}: {why}")
    build = write_build(tmp_path / "b", [a_sample("1")], failures=[failure])
    assert f"message    {why}\n" in table_rows(build, "failures")
    assert "/root/" not in table_rows(build, "failures")
    # Regression: without a video's name, the line of the row was cut off.
    row = replace(failure, video="", stage="annotation", message="q.csv line 2: broken CSV: got 1 cells")
    assert "q.csv line 2: broken" in table_rows(write_build(tmp_path / "c", [], failures=[row]), "failures")
    table_rows(build, "failures", out=tmp_path / "f.csv")
    assert failure.message in (tmp_path / "f.csv").read_text()


def test_what_is_not_shown_is_said(tmp_path: Path) -> None:
    build = write_build(tmp_path / "b", [a_sample(str(i)) for i in range(9)])
    text = table_rows(build, "frames")
    assert text.endswith(f"{SHOWN_ROWS} of 90 rows of frames; more with --limit, all with --out FILE")
    assert table_rows(build, "frames", limit=90).count("\n│") == 91
    assert table_rows(build, "samples", limit=0).endswith(
        "0 of 9 rows of samples; more with --limit, all with --out FILE"
    )


def test_rows_go_to_a_file(tmp_path: Path) -> None:
    build = write_build(tmp_path / "b", [a_sample(str(i)) for i in range(9)])
    out = tmp_path / "f.csv"
    said = table_rows(build, "frames", where="candidate < 8", sample="3", out=out)
    assert said == f"{out}: 8 of 8 rows of frames; lists as JSON text: variants"
    assert len(out.read_text().splitlines()) == 9
    assert table_rows(build, "frames", limit=7, out=tmp_path / "f.parquet").endswith(
        ": 7 of 90 rows of frames"
    )
