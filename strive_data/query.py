"""The tables of a build, asked: which rows, which columns. Lazily, so that a build of any size fits.

`--where` is a condition in SQL over the columns of one table, read by polars as an expression. It can name
no file and hold no query of its own, so it reads nothing but that table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from strive_data.errors import DamagedError, UsageError
from strive_data.seal import FILES as HASHES
from strive_data.seal import file_sha256
from strive_data.settings import choose
from strive_data.shards import INDEX_FILE, RUN_FILE, TELL_MORE, read_run
from strive_data.tables import FAILURES_FILE, FRAMES_FILE, SAMPLES_FILE

FILES = {
    "samples": SAMPLES_FILE,
    "frames": FRAMES_FILE,
    "failures": FAILURES_FILE,
    "index": INDEX_FILE,
}
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
QUERY_WORD = re.compile(r"\bselect\b", re.IGNORECASE)


def scan(build: Path, table: str) -> pl.LazyFrame:
    """A table of a finished build. Raises UsageError for no such build or table, DamagedError for a changed.

    Its bytes are compared with their checksum first: a damaged table can end the reader, not only fail.
    """
    name = FILES[choose(table, FILES, "table")]
    digest = read_run(build).get(HASHES, {}).get(name)
    try:
        intact = digest is None or file_sha256(build / name) == digest
    except OSError as error:
        raise DamagedError(f"cannot read {build / name}: {error.strerror}; {TELL_MORE}") from error
    if not intact:
        raise DamagedError(f"{build / name} does not have the checksum of {RUN_FILE}: {TELL_MORE}")
    return pl.scan_parquet(build / name)


def ask(
    build: Path,
    table: str,
    *,
    where: str | None = None,
    columns: Sequence[str] = (),
    sample: str | None = None,
) -> pl.LazyFrame:
    """Rows of `table` for which `where` holds, of one sample where it is named, and some of their columns.

    Raises UsageError for a sample or column that the build does not have, and for no valid condition.
    """
    rows = scan(build, table)
    known = rows.collect_schema().names()
    if sample is not None:
        choose(sample, sample_ids(build), "sample")
        rows = rows.filter(pl.col("sample_id") == sample)
    if where is not None:
        rows = _filter(rows, where, table)
    if columns:
        rows = rows.select([choose(column, known, f"column of {table}") for column in columns])
    return rows


def sample_ids(build: Path, where: str | None = None) -> list[str]:
    """Ids of the samples, in the order of the build, for which `where` over the samples table holds."""
    rows = scan(build, "samples")
    if where is not None:
        rows = _filter(rows, where, "samples")
    ids: list[str] = rows.select("sample_id").collect()["sample_id"].to_list()
    return ids


def _filter(rows: pl.LazyFrame, where: str, table: str) -> pl.LazyFrame:
    """Filtered rows. The condition is tried on the rows at once, so that no wrong one goes further."""
    if QUERY_WORD.search(QUOTED.sub("", where)):
        raise UsageError(f"--where {where!r}: expected a condition, not a query (SELECT is not allowed)")
    try:
        kept = rows.filter(pl.sql_expr(where))
        kept.select(pl.len()).collect()
    except pl.exceptions.PolarsError as error:
        reason = str(error).strip().split("\n")[0].partition("; valid columns")[0]
        names = ", ".join(rows.collect_schema().names())
        raise UsageError(
            f"--where {where!r} over the {table}: {reason}; expected a condition in SQL on {names}"
        ) from error
    return kept
