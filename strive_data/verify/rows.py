"""The rows of the tables that one shard accounts for, against the shard itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from strive_data.config import BuildSettings
from strive_data.errors import DamagedError
from strive_data.sampling.registry import WALKERS
from strive_data.schema import INDEX_TABLE, Sample
from strive_data.shards.checksums import file_sha256
from strive_data.shards.manifest import Entry, Manifest, manifest_name
from strive_data.shards.reader import INDEX_FILE
from strive_data.shards.tables import FRAMES_FILE, SAMPLES_FILE, frames_table, part_name, samples_table
from strive_data.verify.problem import Problem

# Computed columns: another processor may round them differently.
COMPUTED = ("z", "inclusion")
ROUNDING = 1e-9
STALE = "tables and shards are of two builds: restore both from one copy, or build again"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the rows of a shard begin in index and samples, and in frames."""

    first_sample: int
    first_frame: int


def index_problems(folder: Path, shard: str, entries: Sequence[Entry], place: Place) -> Iterator[Problem]:
    """Rows of the index that are not those of the manifest."""
    rows = [(e.sample_id, shard, e.offset, e.length, e.sha256) for e in entries]
    expected = pl.DataFrame(rows, schema=INDEX_TABLE, orient="row")
    yield from _differences(folder, INDEX_FILE, expected, place.first_sample)


def row_problems(
    folder: Path, shard: str, samples: Sequence[Sample], place: Place, settings: BuildSettings
) -> Iterator[Problem]:
    """Rows of samples and frames that are not those of the samples of the shard (JPEGs aside)."""
    yield from _differences(folder, SAMPLES_FILE, samples_table(samples, shard), place.first_sample)
    expected = frames_table(samples)
    yield from _differences(folder, FRAMES_FILE, expected, place.first_frame, but=("cluster",))
    yield from _cluster_problems(folder, expected, place.first_frame, settings)


def part_problems(folder: Path, manifest: Manifest, place: Place | None) -> Iterator[Problem]:
    """Files with the rows of this shard alone that are not those of its manifest, or of the tables."""
    tables = {
        part_name(manifest.shard, "samples"): (SAMPLES_FILE, place.first_sample if place else None),
        part_name(manifest.shard, "frames"): (FRAMES_FILE, place.first_frame if place else None),
    }
    if manifest.parts.keys() != tables.keys():
        what = f"its parts are {', '.join(manifest.parts)}, expected {', '.join(tables)}"
        yield Problem(file=manifest_name(manifest.shard), what=what)
        return
    for name, (file, first) in tables.items():
        path, part = folder / name, manifest.parts[name]
        if not path.is_file() or path.stat().st_size != part.size_bytes or file_sha256(path) != part.sha256:
            what = f"gone, or not of the size and sha256 of {manifest_name(manifest.shard)}"
            yield Problem(file=name, what=what)
        elif first is not None:
            try:
                rows = read_rows(folder, name, 0, None)
            except DamagedError as error:
                yield Problem(file=name, what=str(error))
                continue
            yield from _differences(folder, file, rows, first)


def read_rows(folder: Path, file: str, first: int, count: int | None) -> pl.DataFrame:
    """Rows [first, first + count) of a table, to its end where None. Raises DamagedError."""
    try:
        return pl.scan_parquet(folder / file).slice(first, count).collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DamagedError(f"no table that can be read: {str(error).splitlines()[0][:200]}") from error


def _differences(
    folder: Path, file: str, expected: pl.DataFrame, first: int, *, but: tuple[str, ...] = ()
) -> Iterator[Problem]:
    """One problem a column: its first row that is not as expected."""
    try:
        rows = read_rows(folder, file, first, expected.height)
    except DamagedError as error:
        yield Problem(file=file, what=str(error))
        return
    if rows.schema != expected.schema:
        yield Problem(
            file=file, what=f"columns {', '.join(rows.columns)}, or their types, are not the schema's"
        )
        return
    if rows.height != expected.height:
        what = f"ends at row {first + rows.height}, expected rows {first} to {first + expected.height}"
        yield Problem(file=file, what=what, todo=STALE)
        return
    for name in expected.columns:
        wrong = pl.Series([], dtype=pl.Boolean) if name in but else _unequal(rows[name], expected[name])
        if wrong.any():
            row = int(wrong.arg_max() or 0)
            got, right = _shown(rows[name][row]), _shown(expected[name][row])
            what = f"row {first + row}, {name}: {got}, expected {right}"
            yield Problem(file=file, what=what, sample_id=expected["sample_id"][row], todo=STALE)


def _unequal(got: pl.Series, expected: pl.Series) -> pl.Series:
    if got.name in COMPUTED:
        near = (got - expected).abs() <= ROUNDING
        return ~(near.fill_null(False) | (got.is_null() & expected.is_null()))
    return got.ne_missing(expected)


def _cluster_problems(
    folder: Path, expected: pl.DataFrame, first: int, settings: BuildSettings
) -> Iterator[Problem]:
    """Clusters follow from embeddings that a shard need not hold: only their range is known."""
    grouped = settings.sampler.grouping != "none" and settings.sampler.name in WALKERS
    try:
        clusters = read_rows(folder, FRAMES_FILE, first, expected.height)["cluster"]
    except (DamagedError, pl.exceptions.ColumnNotFoundError):
        return
    wrong = (clusters.is_null() | (clusters < 0).fill_null(True)) if grouped else clusters.is_not_null()
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        what = (
            f"row {first + row}, cluster: {clusters[row]}, but frames are {'' if grouped else 'not '}grouped"
        )
        yield Problem(file=FRAMES_FILE, what=what, sample_id=expected["sample_id"][row], todo=STALE)


def _shown(value: object) -> str:
    shown = value.to_list() if isinstance(value, pl.Series) else value
    return repr(shown)[:80]
