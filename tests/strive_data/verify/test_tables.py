from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from strive_data.errors import FailureKind
from strive_data.schema import Failure
from strive_data.shards.manifest import FailedRow
from strive_data.verify.record import read_record
from strive_data.verify.rows import Place
from strive_data.verify.tables import (
    places,
    row_count_problems,
    schema_problems,
    table_problems,
    untold_problems,
)
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample

CRASH = Failure(sample_id="9", row=4, video="v.mp4", stage="decode", kind=FailureKind.CRASH, message="died")


@pytest.fixture
def build(tmp_path: Path) -> Path:
    samples = [a_sample("a"), a_sample("b", count=12), a_sample("c")]
    return write_build(tmp_path / "b", samples, failures=[CRASH], a_shard=2)


def test_places_of_the_shards_are_sums_of_what_stands_before(build: Path) -> None:
    assert places(build) == {
        "shard-000000.tar": Place(first_sample=0, first_frame=0),
        "shard-000001.tar": Place(first_sample=2, first_frame=22),
    }


def test_columns_are_those_of_the_schema(build: Path) -> None:
    assert list(schema_problems(build)) == []
    pl.read_parquet(build / "index.parquet").rename({"offset": "at"}).write_parquet(build / "index.parquet")
    (build / "frames.parquet").write_bytes(b"x")
    found = {problem.file: problem.what for problem in schema_problems(build)}
    assert found["index.parquet"].startswith("its columns are not the schema's: sample_id, shard, offset")
    assert found["frames.parquet"].startswith("no table that can be read")
    assert len(found) == 2


def test_older_builds_count_their_tried_videos_as_videos(build: Path) -> None:
    record, _ = read_record(build)
    assert (record.counts["videos"], record.counts["tried_videos"]) == (1, 2)
    counts = {name: count for name, count in record.counts.items() if name != "tried_videos"}
    (problem,) = table_problems(build, replace(record, counts=counts))
    assert problem.what == "counts 1 videos, but there are 2"
    assert list(table_problems(build, replace(record, counts=counts | {"videos": 2}))) == []


def test_counts_are_those_of_the_tables(build: Path) -> None:
    record, _ = read_record(build)
    assert list(table_problems(build, record)) == []
    samples = pl.read_parquet(build / "samples.parquet")
    pl.concat([samples, samples.head(1)]).write_parquet(build / "samples.parquet")
    found = [f"{problem.file}: {problem.what}" for problem in table_problems(build, record)]
    assert found[:3] == [
        "samples.parquet: the id stands 2 times",
        "run.json: counts 3 samples, but there are 4",
        "run.json: counts 32 candidates, but there are 42",
    ]


def test_failures_are_told_by_a_manifest_or_the_tail(build: Path) -> None:
    told = FailedRow(sample_id="9", question="q", stage="decode", kind=FailureKind.CRASH, message="died")
    assert list(untold_problems(build, [told])) == []
    (problem,) = untold_problems(build, [])
    assert (problem.sample_id, problem.what) == ("9", "no manifest tells of it")


def test_tables_have_the_rows_that_shards_account_for(build: Path) -> None:
    assert list(row_count_problems(build, {"samples.parquet": 3, "frames.parquet": 32})) == []
    (problem,) = row_count_problems(build, {"failures.parquet": 2})
    assert problem.what == "1 row, the shards account for 2"
