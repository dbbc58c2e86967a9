"""What `strive-data inspect` prints: the tables of a build, read with polars."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from strive_data.common.settings import choose
from strive_data.common.text import listed, plural, table_text
from strive_data.errors import DamagedError, UsageError
from strive_data.shards.checksums import FILES as HASHES
from strive_data.shards.checksums import file_sha256
from strive_data.shards.reader import INDEX_FILE, RUN_FILE, TELL_MORE, read_run
from strive_data.shards.tables import FAILURES_FILE, FRAMES_FILE, SAMPLES_FILE

# Rows of a table into a file of the user's: CSV or parquet, streamed.

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


# The tables of a build, asked: which rows, which columns. Lazily, so that a build of any size fits.
#
# `--where` is a condition in SQL over the columns of one table, read by polars as an expression. It can
# name
# no file and hold no query of its own, so it reads nothing but that table.

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


FIRST_ROWS = 10
SHOWN_ROWS = 50


def build_overview(build: Path) -> str:
    """Counts, questions by type, the first samples, and the failures by kind."""
    run = read_run(build)
    samples = scan(build, "samples")
    columns = samples.collect_schema().names()  # builds before 2026-11-28 have no `discontinuities`
    by_type = samples.group_by("problem_type").agg(
        questions=pl.len(),
        videos=pl.col("video_id").n_unique(),
        median_seconds=pl.col("duration_seconds").median(),
        **{name: pl.col(name).sum() for name in ("decode_errors", "discontinuities") if name in columns},
    )
    first = samples.select(
        "sample_id", "video", "question", "answer", "duration_seconds", "candidates", "frames", "variants"
    )
    parts = [f"{build}: {listed(run['counts'])}, {run['seconds']} s"]
    parts += ["questions by type", table_text(by_type.sort("problem_type").collect())]
    parts += [f"{SAMPLES_FILE}, first rows", table_text(first.head(FIRST_ROWS).collect())]
    kinds = failures_by_kind(build)
    if kinds.height:
        parts += [f"{FAILURES_FILE}, by kind; each row with --failures", table_text(kinds)]
    return "\n".join(parts)


def failures_by_kind(build: Path) -> pl.DataFrame:
    """Columns stage, kind, rows, first: how many rows failed in this way, and the message of the first."""
    kinds = scan(build, "failures").group_by("stage", "kind", maintain_order=True)
    counts = kinds.agg(rows=pl.len(), first=pl.col("message").first())
    return counts.sort("rows", "kind", descending=[True, False]).collect()


def sample_overview(build: Path, sample_id: str) -> str:
    """One question: its text, and all its candidate frames with times, scores and variants."""
    samples = scan(build, "samples")
    known = samples.select("sample_id").collect()["sample_id"].to_list()
    choose(sample_id, known, "sample")
    sample = samples.filter(pl.col("sample_id") == sample_id).collect().row(0, named=True)
    frames = ask(build, "frames", sample=sample_id).drop("sample_id", "video_id").collect()
    facts = [f"{name}: {value}" for name, value in sample.items() if value not in (None, [])]
    return "\n".join([*facts, table_text(frames)])


def table_rows(
    build: Path,
    table: str,
    *,
    where: str | None = None,
    columns: Sequence[str] = (),
    sample: str | None = None,
    limit: int | None = None,
    out: Path | None = None,
) -> str:
    """Rows of one table as text, at most `limit` (on a screen `SHOWN_ROWS`), or what was written to `out`.

    Raises UsageError as `query.ask` and `export.write_rows` do.
    """
    rows = ask(build, table, where=where, columns=columns, sample=sample)
    found = int(rows.select(pl.len()).collect().item())
    most = limit if limit is not None else found if out else SHOWN_ROWS
    shown = rows.head(most)
    count = f"{min(most, found)} of {plural(found, 'row')} of {table}"
    if out is None:
        more = "; more with --limit, all with --out FILE" if most < found else ""
        return f"{table_text(_path_said_once(shown.collect()))}\n{count}{more}"
    lists = write_rows(shown, out)
    return f"{out}: {count}" + (f"; lists as JSON text: {', '.join(lists)}" if lists else "")


def _path_said_once(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows without the path in front of a failure's message, which another column has: a screen is narrow."""
    if not {"video", "message"} <= set(rows.columns):
        return rows
    pairs = zip(rows["video"], rows["message"], strict=True)
    texts = [message.split(f"{video}: ", maxsplit=1)[-1] for video, message in pairs]
    return rows.with_columns(message=pl.Series(texts, dtype=pl.String))
