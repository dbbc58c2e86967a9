"""What `strive-data inspect` prints: the tables of a build, read with polars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from strive_data.counted import counted, listed
from strive_data.export import write_rows
from strive_data.query import ask, scan
from strive_data.screen import table_text
from strive_data.settings import choose
from strive_data.shards import read_run
from strive_data.tables import FAILURES_FILE, SAMPLES_FILE

FIRST_ROWS = 10
SHOWN_ROWS = 50


def build_overview(build: Path) -> str:
    """Counts, questions by type, the first samples, and the failures by kind."""
    run = read_run(build)
    samples, failures = scan(build, "samples"), scan(build, "failures")
    by_type = samples.group_by("problem_type").agg(
        questions=pl.len(),
        videos=pl.col("video_id").n_unique(),
        median_seconds=pl.col("duration_seconds").median(),
        decode_errors=pl.col("decode_errors").sum(),
    )
    first = samples.select(
        "sample_id", "video", "question", "answer", "duration_seconds", "candidates", "frames", "variants"
    )
    parts = [f"{build}: {listed(run['counts'])}, {run['seconds']} s"]
    parts += ["questions by type", table_text(by_type.sort("problem_type").collect())]
    parts += [f"{SAMPLES_FILE}, first rows", table_text(first.head(FIRST_ROWS).collect())]
    by_kind = failures.group_by("stage", "kind").agg(rows=pl.len(), first=pl.col("message").first())
    kinds = by_kind.sort("rows", "kind", descending=[True, False]).collect()
    if kinds.height:
        parts += [f"{FAILURES_FILE}, by kind; each row with --failures", table_text(kinds)]
    return "\n".join(parts)


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
    count = f"{min(most, found)} of {counted(found, 'row')} of {table}"
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
