"""The tables of the parts, one after the other, streamed: only ids and failures are held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from strive_data.errors import FailureKind
from strive_data.merge.part import Part
from strive_data.merge.plan import Plan
from strive_data.schema import FAILURES_TABLE, FRAMES_TABLE, SAMPLES_TABLE, Table
from strive_data.tables import FAILURES_FILE, FRAMES_FILE, SAMPLES_FILE

ROW_GROUP = 1 << 18


def join_tables(parts: Sequence[Part], plan: Plan, out: Path) -> None:
    """Write samples and frames, in the order of the joined shards."""
    samples = [_kept(part, SAMPLES_FILE, dropped) for part, dropped in zip(parts, plan.dropped, strict=True)]
    renamed = [
        rows.with_columns(pl.col("shard").replace_strict(_new_names(plan, number), return_dtype=pl.String))
        for number, rows in enumerate(samples)
    ]
    _write(renamed, SAMPLES_TABLE, out / SAMPLES_FILE)
    frames = [_kept(part, FRAMES_FILE, dropped) for part, dropped in zip(parts, plan.dropped, strict=True)]
    _write(frames, FRAMES_TABLE, out / FRAMES_FILE)


def join_failures(parts: Sequence[Part], samples: pl.LazyFrame) -> tuple[pl.DataFrame, int]:
    """Failures of all parts, equal ones once, and how many went because another part has the sample."""
    tables = [pl.read_parquet(part.folder / FAILURES_FILE) for part in parts]
    rows = pl.concat([pl.DataFrame(schema=FAILURES_TABLE), *tables]).unique(maintain_order=True)
    held = rows.lazy().join(samples.select("sample_id"), on="sample_id", how="semi").collect()["sample_id"]
    again = pl.col("kind") == FailureKind.DUPLICATE_ID.value
    left = rows.filter(again | ~pl.col("sample_id").is_in(held.unique().to_list()))
    return left, rows.height - left.height


def _kept(part: Part, file: str, dropped: frozenset[str]) -> pl.LazyFrame:
    rows = pl.scan_parquet(part.folder / file)
    return rows.filter(~pl.col("sample_id").is_in(sorted(dropped))) if dropped else rows


def _new_names(plan: Plan, part: int) -> dict[str, str]:
    return {move.manifest.shard: move.shard for move in plan.moves if move.part == part}


def _write(tables: Sequence[pl.LazyFrame], schema: Table, path: Path) -> None:
    rows = pl.concat([pl.LazyFrame(schema=schema), *tables])
    rows.sink_parquet(path, maintain_order=True, row_group_size=ROW_GROUP)
