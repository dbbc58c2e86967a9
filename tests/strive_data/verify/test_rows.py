from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from strive_data.errors import DamagedError
from strive_data.shards.manifest import read_manifest
from strive_data.verify.rows import Place, index_problems, part_problems, read_rows, row_problems
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample, build_settings

SECOND = Place(first_sample=1, first_frame=10)  # of a build of one sample a shard
SHARD = "shard-000001.tar"


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return write_build(tmp_path / "b", [a_sample("a"), a_sample("b")], a_shard=1)


def change(path: Path, **columns: pl.Expr) -> None:
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)


def whats(build: Path) -> list[str]:
    found = row_problems(build, SHARD, [a_sample("b")], SECOND, build_settings())
    return [f"{problem.file}, {problem.sample_id}: {problem.what}" for problem in found]


def test_rows_of_a_shard_agree_with_it(build: Path) -> None:
    manifest = read_manifest(build / "shard-000001.json")
    assert whats(build) == []
    assert list(index_problems(build, SHARD, manifest.samples, SECOND)) == []
    assert list(part_problems(build, manifest, SECOND)) == []


def test_rows_at_another_place_differ(build: Path) -> None:
    """A negative control: the first shard's rows are not those of the second."""
    manifest = read_manifest(build / "shard-000001.json")
    first = Place(first_sample=0, first_frame=0)
    assert {problem.what for problem in index_problems(build, SHARD, manifest.samples, first)} >= {
        "row 0, sample_id: 'a', expected 'b'",
        "row 0, shard: 'shard-000000.tar', expected 'shard-000001.tar'",
    }
    assert [problem.file for problem in part_problems(build, manifest, first)].count("frames.parquet") >= 1
    late = Place(first_sample=2, first_frame=20)
    assert [problem.what for problem in index_problems(build, SHARD, manifest.samples, late)] == [
        "ends at row 2, expected rows 2 to 3"
    ]


def test_the_first_wrong_row_of_a_column_is_named_and_rounding_is_none(build: Path) -> None:
    row = pl.int_range(pl.len())
    change(build / "frames.parquet", z=pl.col("z") + 1e-12)
    assert whats(build) == []
    change(build / "frames.parquet", z=pl.when(row >= 13).then(pl.col("z") + 1e-3).otherwise(pl.col("z")))
    (what,) = whats(build)
    assert what.startswith("frames.parquet, b: row 13, z: ")


def test_clusters_stand_only_where_frames_are_grouped(build: Path) -> None:
    change(build / "frames.parquet", cluster=pl.lit(1, pl.Int32))
    assert whats(build) == ["frames.parquet, b: row 10, cluster: 1, but frames are not grouped"]


def test_parts_are_those_of_the_manifest(build: Path) -> None:
    manifest = read_manifest(build / "shard-000001.json")
    (build / "shard-000001.frames.parquet").unlink()
    (problem,) = part_problems(build, manifest, SECOND)
    assert (problem.file, problem.what) == (
        "shard-000001.frames.parquet",
        "gone, or not of the size and sha256 of shard-000001.json",
    )


def test_what_is_no_table_is_damage(build: Path) -> None:
    assert read_rows(build, "samples.parquet", 1, 5)["sample_id"].to_list() == ["b"]
    (build / "samples.parquet").write_bytes(b"x")
    with pytest.raises(DamagedError, match="no table that can be read"):
        read_rows(build, "samples.parquet", 0, None)
