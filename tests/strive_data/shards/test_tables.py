from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from strive_data.errors import FailureKind
from strive_data.schema import FAILURES_TABLE, FRAMES_TABLE, SAMPLES_TABLE, FailedRow
from strive_data.shards.tables import failures_table, frames_table, join_parts, samples_table, write_parts
from tests.strive_data.made.samples import a_sample


def test_a_frames_row_says_what_was_scored_and_who_took_it() -> None:
    sample = a_sample()
    rows = frames_table([sample])
    assert rows.schema == FRAMES_TABLE
    np.testing.assert_allclose(rows["time"], sample.times)
    np.testing.assert_array_equal(rows["score"], sample.scores)
    for m in range(2):
        taken = rows.filter(pl.col("variants").list.contains(m))["candidate"]
        assert taken.to_list() == sample.variants[m].tolist()
    assert rows.filter("uniform")["candidate"].to_list() == sample.uniform.tolist()
    assert rows["inclusion"].sum() == pytest.approx(4)
    assert rows["inclusion"].arg_max() == 9
    assert rows["z"].is_sorted()


def test_clusters_are_a_column_where_frames_were_grouped() -> None:
    sample = a_sample()
    assert frames_table([sample])["cluster"].to_list() == [None] * 10
    clusters = np.arange(10, dtype=np.int32) // 4
    rows = frames_table([replace(sample, clusters=clusters), sample])
    assert rows.schema == FRAMES_TABLE
    assert rows["cluster"].to_list() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2] + [None] * 10


def test_a_samples_row_repeats_the_contract() -> None:
    row = samples_table([a_sample()], "shard-000000.tar").row(0, named=True)
    assert list(row) == list(SAMPLES_TABLE)
    assert (row["candidates"], row["frames"], row["variants"]) == (10, 4, 2)
    assert (row["evidence_spans"], row["options"]) == ([[2.5, 3.5]], ["A. BUS", "B. TAXI"])
    assert (row["shard"], row["duration_seconds"], row["reader"]) == ("shard-000000.tar", 10.0, "pyav")


def test_failures_stand_in_the_order_of_the_annotation() -> None:
    common = {"video": "v", "stage": "decode", "message": "m", "kind": FailureKind.MISSING}
    failures = [FailedRow(sample_id=str(row), row=row, **common) for row in (5, 1)]  # type: ignore[arg-type]
    table = failures_table(failures)
    assert table.schema == FAILURES_TABLE
    assert table.select("row", "kind").rows() == [(1, "missing"), (5, "missing")]
    assert failures_table([]).schema == FAILURES_TABLE


def test_parts_are_joined_in_the_order_of_the_shards(tmp_path: Path) -> None:
    shards = [f"shard-{i:06d}.tar" for i in range(3)]
    for i in (2, 0, 1):
        write_parts(tmp_path, shards[i], [a_sample(str(i))])
    join_parts(tmp_path, shards)
    assert pl.read_parquet(tmp_path / "samples.parquet")["sample_id"].to_list() == ["0", "1", "2"]
    frames = pl.read_parquet(tmp_path / "frames.parquet")
    assert frames["sample_id"].to_list() == [str(i) for i in range(3) for _ in range(10)]


def test_no_samples_give_empty_tables_of_the_same_schema(tmp_path: Path) -> None:
    join_parts(tmp_path, [])
    assert pl.read_parquet(tmp_path / "samples.parquet").schema == SAMPLES_TABLE
    assert pl.read_parquet(tmp_path / "frames.parquet").schema == FRAMES_TABLE
