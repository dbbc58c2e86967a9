"""The tables of a build as a whole: ids, failures, counts. Only tables whose checksums hold come here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from strive_data.common.text import plural
from strive_data.errors import DamagedError, FailureKind
from strive_data.schema import FAILURES_TABLE, FRAMES_TABLE, INDEX_TABLE, SAMPLES_TABLE, Stage, Table
from strive_data.shards.manifest import FailedRow
from strive_data.shards.reader import INDEX_FILE, RUN_FILE
from strive_data.shards.tables import FAILURES_FILE, FRAMES_FILE, SAMPLES_FILE
from strive_data.verify.problem import Problem
from strive_data.verify.record import Record
from strive_data.verify.rows import STALE, Place

SCHEMAS: dict[str, Table] = {
    SAMPLES_FILE: SAMPLES_TABLE,
    FRAMES_FILE: FRAMES_TABLE,
    FAILURES_FILE: FAILURES_TABLE,
    INDEX_FILE: INDEX_TABLE,
}
STAGES: tuple[str, ...] = Stage.__args__  # type: ignore[attr-defined]  # a Literal


def schema_problems(folder: Path) -> Iterator[Problem]:
    """Tables that cannot be read, or whose columns are not the schema's."""
    for file, schema in SCHEMAS.items():
        try:
            found = _read(pl.scan_parquet(folder / file).head(0)).schema
        except DamagedError as error:
            yield Problem(file=file, what=str(error))
            continue
        if found != pl.Schema(schema):
            yield Problem(file=file, what=f"its columns are not the schema's: {', '.join(schema)}")


def places(folder: Path) -> dict[str, Place]:
    """Where the rows of each shard begin in the tables."""
    rows = pl.scan_parquet(folder / SAMPLES_FILE).select("shard", "candidates")
    counts = _read(
        rows.group_by("shard", maintain_order=True).agg(samples=pl.len(), frames=pl.col("candidates").sum())
    )
    first = counts.with_columns(pl.col("samples", "frames").cum_sum().shift(1, fill_value=0))
    return {shard: Place(first_sample=samples, first_frame=frames) for shard, samples, frames in first.rows()}


def table_problems(folder: Path, record: Record) -> Iterator[Problem]:
    """Ids that stand twice, failures that are none, and counts that are not those of `run.json`."""
    samples, failures = (pl.scan_parquet(folder / file) for file in (SAMPLES_FILE, FAILURES_FILE))
    twice = _read(samples.group_by("sample_id").len().filter(pl.col("len") > 1).sort("sample_id"))
    for sample_id, count in twice.rows():
        yield Problem(file=SAMPLES_FILE, what=f"the id stands {count} times", sample_id=sample_id)
    # A second row of one id is a failure of its own kind, whatever became of the first.
    first = failures.filter(pl.col("kind") != FailureKind.DUPLICATE_ID.value)
    for sample_id in _read(first.join(samples, on="sample_id", how="semi"))["sample_id"]:
        yield Problem(file=FAILURES_FILE, what="a sample of the build too", sample_id=sample_id, todo=STALE)
    unknown = ~pl.col("kind").is_in([kind.value for kind in FailureKind]) | ~pl.col("stage").is_in(STAGES)
    for row in _read(failures.filter(unknown.fill_null(True))).rows(named=True):
        what = f"stage {row['stage']!r}, kind {row['kind']!r}: not among those of the schema"
        yield Problem(file=FAILURES_FILE, what=what, sample_id=row["sample_id"])
    sampled, tried = samples.select("video"), failures.filter(pl.col("stage") != "annotation").select("video")
    sums = _read(samples.select(pl.len(), pl.col("candidates", "stored").cast(pl.Int64).sum())).row(0)
    found = {
        "samples": sums[0],
        "candidates": sums[1],
        "frames": sums[2],
        "videos": _read(sampled.unique().select(pl.len())).item(),
        "tried_videos": _read(pl.concat([sampled, tried]).unique().select(pl.len())).item(),
        "failures": _read(failures.select(pl.len())).item(),
        "shards": len(record.shards),
        "bytes": sum(
            (folder / shard).stat().st_size for shard in record.shards if (folder / shard).is_file()
        ),
    }
    if "tried_videos" not in record.counts:  # older builds call these their videos
        found["videos"] = found.pop("tried_videos")
    for name, count in found.items():
        told = record.counts.get(name)
        if told != count:
            what = f"counts {told} {name}, but there are {count}"
            yield Problem(file=RUN_FILE, what=what, todo=STALE)


def untold_problems(folder: Path, told: Iterable[FailedRow]) -> Iterator[Problem]:
    """Failures of videos that neither a manifest nor the tail tells of."""
    known = {(lost.sample_id, lost.stage, str(lost.kind), lost.message) for lost in told}
    rows = _read(pl.scan_parquet(folder / FAILURES_FILE).filter(pl.col("stage") != "annotation"))
    for row in rows.select("sample_id", "stage", "kind", "message").rows():
        if row not in known:
            yield Problem(file=FAILURES_FILE, what="no manifest tells of it", sample_id=row[0], todo=STALE)


def row_count_problems(folder: Path, expected: dict[str, int]) -> Iterator[Problem]:
    """Tables that have more or fewer rows than the shards account for."""
    for file, count in expected.items():
        found = _read(pl.scan_parquet(folder / file).select(pl.len())).item()
        if found != count:
            what = f"{plural(found, 'row')}, the shards account for {count}"
            yield Problem(file=file, what=what, todo=STALE)


def _read(rows: pl.LazyFrame) -> pl.DataFrame:
    try:
        return rows.collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DamagedError(f"no table that can be read: {str(error).splitlines()[0][:200]}") from error
