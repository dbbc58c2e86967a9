from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from strive_data.errors import SettingsError, UsageError
from strive_data.query import ask, sample_ids, scan
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = [a_sample(f"s{i}", count=10 + i) for i in range(4)]
    return write_build(tmp_path_factory.mktemp("query") / "b", samples)


def test_a_condition_keeps_its_rows_and_columns_their_order(build: Path) -> None:
    rows = ask(
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
    both = ask(build, "frames", where="array_contains(variants, 0) AND array_contains(variants, 1)")
    assert set(map(tuple, both.collect()["variants"].to_list())) == {(0, 1)}


def test_one_sample_of_any_table(build: Path) -> None:
    assert ask(build, "frames", sample="s2").collect().height == 12
    assert ask(build, "index", sample="s2").collect().height == 1
    with pytest.raises(SettingsError, match="unknown sample 's9'"):
        ask(build, "frames", sample="s9")


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("candidates >", "unable to parse"),
        ("", "unable to parse"),
        ("candidate > 1", 'unable to find column "candidate"'),
        ("candidates", "must be of type `Boolean`"),
        ("question > 1", "cannot compare"),
        ("CAST(question AS INT) > 1", "conversion"),
        ("candidates > 1; DROP TABLE x", "unexpected token"),
        ("frobnicate(candidates)", "unsupported function"),
        ("*", "unable to parse"),
    ],
)
def test_no_condition_is_one_line_that_names_the_columns(build: Path, where: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        ask(build, "samples", where=where)
    message = str(caught.value)
    assert says in message
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
        "EXISTS (TABLE secret)",
        "sample_id IN (WITH x AS (SELECT 1) SELECT 2)",
    ],
)
def test_a_condition_reads_no_other_file(build: Path, tmp_path: Path, where: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\ns1\n")
    with pytest.raises(UsageError):
        ask(build, "samples", where=where.format(secret=secret))


def test_unknown_names_are_refused_with_a_suggestion(build: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'frames'"):
        scan(build, "frame")
    with pytest.raises(SettingsError, match="unknown column of samples 'ids'"):
        ask(build, "samples", columns=["ids"])
    with pytest.raises(UsageError, match="no such folder"):
        scan(tmp_path / "none", "samples")
