"""Check one shard: its manifest, every byte of its tar, and its rows in the tables by its samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import polars as pl

from strive_data.errors import DamagedError
from strive_data.schema import FailedRow, Sample
from strive_data.shards.format import END_OF_ARCHIVE, decode_sample, jpeg_size
from strive_data.shards.manifest import (
    FRAMES_FILE,
    INDEX_FILE,
    SAMPLES_FILE,
    Manifest,
    index_of,
    manifest_name,
    read_manifest,
)
from strive_data.shards.writer import frames_table, samples_table

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
class ShardReport:
    """What was read of a shard, its problems, and the failed rows of its manifest."""

    problems: tuple[Problem, ...]
    samples: int = 0
    frames: int = 0
    candidates: int = 0
    size_bytes: int = 0
    failures: tuple[FailedRow, ...] = ()


def check_shard(folder: Path, shard: str, settings: str, first: tuple[int, int] | None) -> ShardReport:
    """Read one shard from start to end. Memory: one sample's frames, and the table rows of the shard.

    `settings` is the fingerprint of the build's. `first` is where the rows of the shard start, in the samples
    table (and the index) and in the frames table; None if the tables are damaged: they are not compared.
    """
    name = manifest_name(shard)
    try:
        manifest = read_manifest(folder / name)
    except DamagedError as error:
        return ShardReport(problems=(Problem(file=name, what=str(error)),))
    problems, samples, frames = list[Problem](), list[Sample](), 0
    if manifest.shard != shard:
        problems.append(Problem(file=name, what=f"it is the manifest of {manifest.shard}"))
    if manifest.settings != settings:
        what = f"settings fingerprint {manifest.settings}, expected {settings}"
        problems.append(Problem(file=name, what=what, remedy="the shard has other settings: build again"))
    for found in _read_tar(folder / shard, manifest):
        if isinstance(found, Problem):
            problems.append(found)
        else:
            frames += len(found.jpegs)
            samples.append(replace(found, jpegs=()))
    if first is not None:
        index = index_of([replace(manifest, shard=shard)])
        problems += _differences(folder / INDEX_FILE, first[0], index)
        if len(samples) == len(manifest.samples):  # else the shard has problems, and tells nothing of a table
            problems += _differences(folder / SAMPLES_FILE, first[0], samples_table(samples, shard))
            problems += _differences(folder / FRAMES_FILE, first[1], frames_table(samples))
    return ShardReport(
        problems=tuple(problems),
        samples=len(samples),
        frames=frames,
        candidates=sum(len(sample.times) for sample in samples),
        size_bytes=manifest.size_bytes,
        failures=manifest.failures,
    )


def _read_tar(path: Path, manifest: Manifest) -> Iterator[Sample | Problem]:
    """The sound samples, and a problem for whatever is not as the manifest says."""
    if not path.is_file():
        yield Problem(file=path.name, what="there is no such file, but it has a manifest")
        return
    digest, at = sha256(), 0
    with path.open("rb") as file:
        for entry in manifest.samples:
            block = file.read(min(entry.length, max(manifest.size_bytes - at, 0)))
            digest.update(block)
            sample, wrong = None, []
            if entry.offset != at:
                wrong.append(f"its manifest has byte {entry.offset}")
            if sha256(block).hexdigest() != entry.sha256:
                wrong.append(f"{len(block)} of {entry.length} bytes do not have the sha256 of its manifest")
            try:
                sample = decode_sample(block)
                for jpeg in sample.jpegs:
                    jpeg_size(jpeg)
            except DamagedError as error:
                wrong.append(str(error))
            for what in wrong:
                yield Problem(file=path.name, what=what, sample_id=entry.sample_id, offset=at)
            if sample and not wrong:
                yield sample
            at += len(block)
        end = file.read(len(END_OF_ARCHIVE) + 1)
        digest.update(end)
        if end != END_OF_ARCHIVE:
            yield Problem(file=path.name, what="expected the end of the tar, two empty blocks", offset=at)
            while rest := file.read(BLOCK_BYTES):
                digest.update(rest)
        size_bytes = file.tell()
    if size_bytes != manifest.size_bytes:
        yield Problem(file=path.name, what=f"{size_bytes} bytes, its manifest says {manifest.size_bytes}")
    elif digest.hexdigest() != manifest.sha256:
        yield Problem(file=path.name, what="it does not have the sha256 of its manifest")


def _differences(table: Path, first: int, expected: pl.DataFrame) -> Iterator[Problem]:
    """One problem a column: the first row of the table, from `first` on, that is not the expected one."""
    try:
        rows = pl.scan_parquet(table).slice(first, expected.height).collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        what = f"it cannot be read as a table: {str(error).splitlines()[0][:200]}"
        yield Problem(file=table.name, what=what)
        return
    if rows.schema != expected.schema or rows.height != expected.height:
        what = f"from row {first + 1} it does not have {expected.height} rows with the columns of the schema"
        yield Problem(file=table.name, what=what, remedy=STALE)
        return
    for name in expected.drop(UNKNOWN, strict=False).columns:
        wrong = _unequal(rows[name], expected[name])
        if wrong.any():
            row = int(wrong.arg_max() or 0)
            values = (repr(column[name].to_list()[row])[:80] for column in (rows, expected))
            what = f"row {first + row + 1}, {name}: {', expected '.join(values)}"
            yield Problem(file=table.name, what=what, sample_id=expected["sample_id"][row], remedy=STALE)


def _unequal(got: pl.Series, expected: pl.Series) -> pl.Series:
    if got.name in COMPUTED:
        near = (got - expected).abs() <= ROUNDING
        return ~(near.fill_null(False) | (got.is_null() & expected.is_null()))
    return got.ne_missing(expected)
