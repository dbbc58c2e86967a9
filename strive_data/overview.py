"""What `strive-data inspect` prints: the tables of a build, read with polars."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from strive_data.settings import choose
from strive_data.shards import read_run
from strive_data.tables import FAILURES_FILE, FRAMES_FILE, SAMPLES_FILE


def build_overview(build: Path) -> str:
    """Counts, questions by type, the first samples, and the failures by kind."""
    run = read_run(build)
    samples = pl.scan_parquet(build / SAMPLES_FILE)
    failures = pl.read_parquet(build / FAILURES_FILE)
    by_type = samples.group_by("problem_type").agg(
        questions=pl.len(),
        videos=pl.col("video_id").n_unique(),
        median_seconds=pl.col("duration_seconds").median(),
        decode_errors=pl.col("decode_errors").sum(),
    )
    first = samples.select(
        "sample_id", "video", "question", "answer", "duration_seconds", "candidates", "frames", "variants"
    ).head(10)
    counts = ", ".join(f"{count} {name}" for name, count in run["counts"].items())
    parts = [f"{build}: {counts}, {run['seconds']} s"]
    parts += ["questions by type", _text(by_type.sort("problem_type").collect())]
    parts += [f"{SAMPLES_FILE}, first rows", _text(first.collect())]
    if failures.height:
        parts += [FAILURES_FILE, _text(failures.select("row", "sample_id", "kind", "stage", "message"))]
    return "\n".join(parts)


def sample_overview(build: Path, sample_id: str) -> str:
    """One question: its text, and all its candidate frames with times, scores and variants."""
    read_run(build)
    known = pl.read_parquet(build / SAMPLES_FILE, columns=["sample_id"])["sample_id"].to_list()
    choose(sample_id, known, "sample")
    this = pl.col("sample_id") == sample_id
    sample = pl.scan_parquet(build / SAMPLES_FILE).filter(this).collect().row(0, named=True)
    frames = pl.scan_parquet(build / FRAMES_FILE).filter(this).drop("sample_id", "video_id").collect()
    facts = [f"{name}: {value}" for name, value in sample.items() if value not in (None, [])]
    return "\n".join([*facts, _text(frames)])


def _text(table: pl.DataFrame) -> str:
    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        fmt_str_lengths=60,
        fmt_table_cell_list_len=8,
        tbl_width_chars=180,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        return str(table)
