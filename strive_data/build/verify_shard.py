"""Check one shard: its manifest, every byte of its tar, and its rows in the tables by its samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from strive_data.common.settings import fingerprint
from strive_data.config import BuildSettings
from strive_data.errors import DamagedError
from strive_data.schema import FailedRow, Sample
from strive_data.shards.format import END_OF_ARCHIVE, decode_sample
from strive_data.shards.frames import jpeg_size
from strive_data.shards.manifest import (
    FRAMES_FILE,
    INDEX_FILE,
    SAMPLES_FILE,
    Manifest,
    index_of,
    manifest_name,
    read_manifest,
)
from strive_data.shards.tables import frames_table, samples_table

if TYPE_CHECKING:
    from hashlib import _Hash as HASH

# Computed columns: another processor may round them differently.
COMPUTED = ("z", "inclusion")
UNKNOWN = ("cluster",)  # follows from embeddings that a shard need not hold
ROUNDING = 1e-9
BLOCK_BYTES = 1 << 20
STALE = "tables and shards are of two builds: restore both from one copy, or build again"
RESTORE = "restore the file from a copy, or build again"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem: `file` is a name in the build's folder, `offset` a byte in it, `remedy` what to do."""

    file: str
    what: str
    sample_id: str | None = None
    offset: int | None = None
    remedy: str = RESTORE

    def __str__(self) -> str:
        sample = "" if self.sample_id is None else f", sample {self.sample_id!r}"
        byte = "" if self.offset is None else f", byte {self.offset}"
        return f"{self.file}{sample}{byte}: {self.what}; {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class FirstRows:
    """Where the rows of a shard start: in the samples table and the index, and in the frames table."""

    samples: int
    frames: int


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """A shard to check. `first_rows` is None if the tables are damaged: then they are not compared."""

    folder: Path
    shard: str
    settings: BuildSettings
    first_rows: FirstRows | None


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """What was read of a shard, its problems, and the failed rows of its manifest."""

    problems: tuple[Problem, ...]
    samples: int = 0
    frames: int = 0
    candidates: int = 0
    size_bytes: int = 0
    failures: tuple[FailedRow, ...] = ()


def check_shard(task: ShardTask) -> ShardReport:
    """Read one shard from start to end. Memory: one sample's frames, and the table rows of the shard."""
    name = manifest_name(task.shard)
    try:
        manifest = read_manifest(task.folder / name)
    except DamagedError as error:
        return ShardReport(problems=(Problem(file=name, what=str(error)),))
    problems = list(_manifest_problems(task, manifest))
    samples: list[Sample] = []
    frames, digest = 0, sha256()
    path = task.folder / task.shard
    if path.is_file():
        with path.open("rb") as file:
            for sample, found in _read_samples(file, digest, manifest, task):
                problems += found
                if sample is not None:
                    frames += len(sample.jpegs)
                    samples.append(replace(sample, jpegs=()))
            problems += _end_problems(file, digest, path, manifest)
    else:
        problems.append(Problem(file=task.shard, what="there is no such file, but it has a manifest"))
    if task.first_rows is not None:
        problems += _table_problems(task, manifest, task.first_rows, samples)
    return ShardReport(
        problems=tuple(problems),
        samples=len(samples),
        frames=frames,
        candidates=sum(len(sample.times) for sample in samples),
        size_bytes=manifest.size_bytes,
        failures=manifest.failures,
    )


def _manifest_problems(task: ShardTask, manifest: Manifest) -> Iterator[Problem]:
    name = manifest_name(task.shard)
    if manifest.shard != task.shard:
        yield Problem(file=name, what=f"it is the manifest of {manifest.shard}")
    wanted = fingerprint(task.settings)
    if manifest.settings != wanted:
        what = f"settings fingerprint {manifest.settings}, expected {wanted}"
        yield Problem(file=name, what=what, remedy="the shard has other settings: build again")


def _read_samples(
    file: BufferedReader, digest: HASH, manifest: Manifest, task: ShardTask
) -> Iterator[tuple[Sample | None, list[Problem]]]:
    """Each sample of the tar (None if damaged), with its problems."""
    at = 0
    for entry in manifest.samples:
        block = file.read(min(entry.length, max(manifest.size_bytes - at, 0)))
        digest.update(block)
        sample, found = None, []
        if entry.offset != at:
            found.append(f"its manifest has byte {entry.offset}")
        if sha256(block).hexdigest() != entry.sha256:
            found.append(f"{len(block)} of {entry.length} bytes do not have the sha256 of its manifest")
        try:
            sample = decode_sample(block)
            for jpeg in sample.jpegs:
                jpeg_size(jpeg)
        except DamagedError as error:
            found.append(str(error))
        problems = [
            Problem(file=task.shard, what=what, sample_id=entry.sample_id, offset=at) for what in found
        ]
        yield (None if found else sample), problems
        at += len(block)


def _end_problems(file: BufferedReader, digest: HASH, path: Path, manifest: Manifest) -> Iterator[Problem]:
    at, end = file.tell(), file.read(len(END_OF_ARCHIVE) + 1)
    digest.update(end)
    if end != END_OF_ARCHIVE:
        yield Problem(file=path.name, what="expected the end of the tar, two empty blocks", offset=at)
        while rest := file.read(BLOCK_BYTES):
            digest.update(rest)
    if file.tell() != manifest.size_bytes:
        yield Problem(file=path.name, what=f"{file.tell()} bytes, its manifest says {manifest.size_bytes}")
    elif digest.hexdigest() != manifest.sha256:
        yield Problem(file=path.name, what="it does not have the sha256 of its manifest")


def _table_problems(
    task: ShardTask, manifest: Manifest, first: FirstRows, samples: Sequence[Sample]
) -> Iterator[Problem]:
    """Rows of the tables that differ from the manifest of the shard and from its samples."""
    index = index_of([replace(manifest, shard=task.shard)])
    yield from _differences(task, INDEX_FILE, first.samples, index)
    if len(samples) == len(manifest.samples):  # else the shard has problems, and tells nothing of a table
        yield from _differences(task, SAMPLES_FILE, first.samples, samples_table(samples, task.shard))
        yield from _differences(task, FRAMES_FILE, first.frames, frames_table(samples))


def _differences(task: ShardTask, file: str, first: int, expected: pl.DataFrame) -> Iterator[Problem]:
    """One problem a column: the first row of the table, from `first` on, that is not the expected one."""
    try:
        rows = pl.scan_parquet(task.folder / file).slice(first, expected.height).collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        what = f"it cannot be read as a table: {str(error).splitlines()[0][:200]}"
        yield Problem(file=file, what=what)
        return
    if rows.schema != expected.schema or rows.height != expected.height:
        what = f"from row {first} it does not have {expected.height} rows with the columns of the schema"
        yield Problem(file=file, what=what, remedy=STALE)
        return
    for name in expected.columns:
        wrong = _unequal(rows[name], expected[name])
        if name not in UNKNOWN and wrong.any():
            row = int(wrong.arg_max() or 0)
            values = (repr(column[name].to_list()[row])[:80] for column in (rows, expected))
            what = f"row {first + row}, {name}: {', expected '.join(values)}"
            yield Problem(file=file, what=what, sample_id=expected["sample_id"][row], remedy=STALE)


def _unequal(got: pl.Series, expected: pl.Series) -> pl.Series:
    if got.name in COMPUTED:
        near = (got - expected).abs() <= ROUNDING
        return ~(near.fill_null(False) | (got.is_null() & expected.is_null()))
    return got.ne_missing(expected)
