"""Shards are plain WebDataset tars: read here with nothing but webdataset and numpy, tables with polars."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from strive_data.shards.tables import join_parts, write_parts
from strive_data.shards.writer import OpenShard
from tests.strive_data.made.samples import a_sample


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shard = OpenShard(tmp_path, 0, "settings")
    samples = [a_sample("a.1"), a_sample("b")]
    for sample in samples:
        shard.add(sample)
    shard.commit()
    write_parts(tmp_path, shard.name, samples)
    join_parts(tmp_path, [shard.name])
    return tmp_path


# webdataset 1.0 leaves the closing of the files that it opens to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_shards(folder: Path) -> None:
    import webdataset

    read = list(webdataset.WebDataset(str(folder / "shard-000000.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in read] == [a_sample("a.1").key, "b"]
    for sample, name in zip(read, ("a.1", "b"), strict=True):
        written = a_sample(name)
        for member in ("scores", "times", "variants", "uniform", "stored"):
            values = np.load(io.BytesIO(sample[f"{member}.npy"]))
            np.testing.assert_array_equal(values, getattr(written, member))
        frames = [content for name, content in sorted(sample.items()) if name.endswith(".jpg")]
        assert frames == list(written.jpegs)


def test_polars_reads_the_tables(folder: Path) -> None:
    best = (
        pl.scan_parquet(folder / "frames.parquet")
        .filter(pl.col("variants").list.len() > 0)
        .group_by("sample_id")
        .agg(pl.col("time").top_k_by("score", 1).first())
        .sort("sample_id")
        .collect()
    )
    assert best.rows() == [("a.1", 9.5), ("b", 9.5)]
