"""The failures of all parts together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from strive_data.errors import FailureKind
from strive_data.schema import FAILURES_TABLE
from strive_data.tables import FAILURES_FILE


def join_failures(folders: Sequence[Path], samples: pl.LazyFrame) -> tuple[pl.DataFrame, int]:
    """Failures of all parts, equal ones once, and how many went because another part has the sample."""
    tables = [pl.read_parquet(folder / FAILURES_FILE) for folder in folders]
    rows = pl.concat([pl.DataFrame(schema=FAILURES_TABLE), *tables]).unique(maintain_order=True)
    held = rows.lazy().join(samples.select("sample_id"), on="sample_id", how="semi").collect()["sample_id"]
    again = pl.col("kind") == FailureKind.DUPLICATE_ID.value
    left = rows.filter(again | ~pl.col("sample_id").is_in(held.unique().to_list()))
    return left, rows.height - left.height
