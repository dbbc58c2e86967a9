"""Rows of a table into a file of the user's: CSV or parquet, streamed."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from strive_data.errors import UsageError
from strive_data.shards import RUN_FILE

FORMATS = (".csv", ".parquet")


def check_out(path: Path) -> None:
    """Refuse a name that says no known format, and any parquet beside a build's own tables."""
    if path.suffix not in FORMATS:
        raise UsageError(f"--out {path}: expected a name that ends in {' or '.join(FORMATS)}")
    if path.suffix == ".parquet" and (path.parent / RUN_FILE).exists():
        raise UsageError(f"--out {path}: the folder is a build, whose tables are parquet; write elsewhere")


def write_rows(rows: pl.LazyFrame, path: Path) -> list[str]:
    """Write the rows by the name's ending; returns the columns that a CSV holds as JSON text (the lists).

    Written beside and renamed, so that the file is whole or not there. Raises UsageError where it cannot be.
    """
    check_out(path)
    lists = [name for name, kind in rows.collect_schema().items() if isinstance(kind, pl.List)]
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            rows.with_columns(as_json(name) for name in lists).sink_csv(part)
        else:
            rows.sink_parquet(part)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"--out {path}: cannot write: {error.strerror or error}") from error
    return lists if path.suffix == ".csv" else []


def as_json(column: str) -> pl.Expr:
    """A list column as JSON text; null stays null."""
    text = pl.struct(pl.col(column).alias("v")).struct.json_encode()
    inner = text.str.strip_prefix('{"v":').str.strip_suffix("}")
    return pl.when(pl.col(column).is_not_null()).then(inner).alias(column)
