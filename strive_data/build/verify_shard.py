"""Check one shard: its manifest, every byte of its tar, the rules for each sample, its rows in the tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from strive_data.common.files import file_sha256
from strive_data.common.settings import fingerprint
from strive_data.config import BuildSettings, SamplerSettings
from strive_data.decode.frame_times import ROUNDING_SECONDS, storage_size
from strive_data.engines.results import BUILD_EPOCH
from strive_data.errors import DamagedError, StriveError
from strive_data.sampling.baselines import uniform_indices
from strive_data.sampling.comb import comb_offset
from strive_data.sampling.registry import ORDERED
from strive_data.schema import FailedRow, Sample, question_hash
from strive_data.shards.format import END_OF_ARCHIVE, decode_sample, encode_sample
from strive_data.shards.frames import END_OF_IMAGE, decode_jpeg
from strive_data.shards.manifest import (
    INDEX_FILE,
    PART_TABLES,
    Entry,
    Manifest,
    index_of,
    manifest_name,
    part_name,
    read_manifest,
)
from strive_data.shards.tables import frames_table, samples_table

if TYPE_CHECKING:
    from hashlib import _Hash as HASH


# Computed columns: another processor may round them differently.
COMPUTED = ("z", "inclusion")
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
        complete = samples if len(samples) == len(manifest.samples) else None
        problems += _table_problems(task, manifest, task.first_rows, complete)
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
    if manifest.parts.keys() != {part_name(task.shard, table) for table in PART_TABLES}:
        yield Problem(file=name, what=f"its parts are {', '.join(manifest.parts)}")
    for part, known in manifest.parts.items():
        path = task.folder / part
        if path.is_file() and file_sha256(path) != known.sha256:
            yield Problem(file=part, what=f"it does not have the sha256 of {name}")


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
            found += _broken_rules(block, sample, entry, task.settings)
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


def _broken_rules(block: bytes, sample: Sample, entry: Entry, settings: BuildSettings) -> Iterator[str]:
    """Each rule of the contract that the sample breaks. N candidates, M variants, K frames, S stored."""
    question, sampler = sample.meta.question, settings.sampler
    count, times = len(sample.times), sample.times
    if (question.sample_id, question_hash(question)) != (entry.sample_id, entry.question):
        yield f"json: it is sample {question.sample_id!r}, or another question than that of its manifest"
    if encode_sample(sample) != block:
        yield "headers, padding or order of the members are not those that the package writes"
    if not (np.isfinite(times).all() and (times[1:] > times[:-1]).all() and times[0] >= 0):
        yield "times: not finite, not increasing, or negative"
    elif times[-1] > sample.meta.info.duration_seconds + ROUNDING_SECONDS:
        yield f"times: {times[-1]} s, in a video of {sample.meta.info.duration_seconds} s"
    if not np.isfinite(sample.scores).all():
        yield "scores: not all finite"
    if sample.variants.shape != (sampler.variants, min(sampler.frames, count)):
        yield f"variants: shape {list(sample.variants.shape)} is not that of the settings"
    elif not (sample.variants[:, 1:] > sample.variants[:, :-1]).all():
        yield "variants: not strictly increasing"
    if not np.array_equal(sample.uniform, uniform_indices(count, sampler.frames)):
        yield "uniform: not the midpoint-uniform control"
    everything = settings.shard.frames == "all"
    chosen = np.arange(count) if everything else np.union1d(sample.variants, sample.uniform)
    if not np.array_equal(sample.stored, chosen):
        yield f"stored: not {'all candidates' if everything else 'the union of variants and uniform'}"
    if (sample.embeds is not None) != settings.shard.embeds:
        yield "embeds: present or absent against shard.embeds"
    elif sample.embeds is not None and not np.isfinite(sample.embeds).all():
        yield "embeds: not all finite"
    phase = comb_offset(sampler.seed, question.sample_id, BUILD_EPOCH)
    # A build made before a setting existed has its default.
    stored = asdict(SamplerSettings()) | sample.meta.sampler
    if stored != asdict(sampler) | {"phase": phase} or sample.meta.query_windows < 1:
        yield "json: the sampler is not that of the settings, its phase not that of the sample, or no window"
    yield from _broken_frames(sample, settings)


def _broken_frames(sample: Sample, settings: BuildSettings) -> Iterator[str]:
    """Stored frames that are not whole JPEGs of the expected size."""
    info, decode = sample.meta.info, settings.decode
    if info.width < 1 or info.height < 1:
        yield "json: the video has no size"
        return
    width, height = storage_size(info.width, info.height, decode.max_pixels, decode.multiple)
    for slot, jpeg in enumerate(sample.jpegs):
        try:
            shape = decode_jpeg(jpeg).shape[:2]
        except StriveError as error:
            yield f"f{slot:04d}.jpg: {error}"
            continue
        if not jpeg.endswith(END_OF_IMAGE) or shape != (height, width):
            yield f"f{slot:04d}.jpg: not a JPEG of {width}×{height} pixels that fills its member"


def _table_problems(
    task: ShardTask, manifest: Manifest, first: FirstRows, samples: list[Sample] | None
) -> Iterator[Problem]:
    """Rows of the tables that differ from the parts of the shard, and parts that differ from its samples."""
    index = index_of([replace(manifest, shard=task.shard)])
    yield from _differences(
        INDEX_FILE, _rows(task, INDEX_FILE, first.samples, index.height), index, first.samples
    )
    starts = {"samples": first.samples, "frames": first.frames}
    for table in PART_TABLES:
        part_file, file = part_name(task.shard, table), f"{table}.parquet"
        part = _rows(task, part_file, 0, None)
        if isinstance(part, str):
            yield Problem(file=part_file, what=part)
            continue
        yield from _differences(file, _rows(task, file, starts[table], part.height), part, starts[table])
        if samples is not None:
            expected = samples_table(samples, task.shard) if table == "samples" else frames_table(samples)
            yield from _differences(part_file, part, expected, 0, skip=("cluster",))
            if table == "frames":
                yield from _cluster_problems(part_file, part, task.settings)


def _rows(task: ShardTask, file: str, first: int, count: int | None) -> pl.DataFrame | str:
    """Rows [first, first + count) of a table, to its end if `count` is None; or why they cannot be read."""
    if not (task.folder / file).is_file():
        return "there is no such file"
    try:
        return pl.scan_parquet(task.folder / file).slice(first, count).collect()
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return f"it cannot be read as a table: {str(error).splitlines()[0][:200]}"


def _differences(
    file: str, rows: pl.DataFrame | str, expected: pl.DataFrame, first: int, *, skip: tuple[str, ...] = ()
) -> Iterator[Problem]:
    """One problem a column: the first row that is not the expected one."""
    if isinstance(rows, str):
        yield Problem(file=file, what=rows)
        return
    if rows.schema != expected.schema or rows.height != expected.height:
        what = f"from row {first} it does not have {expected.height} rows with the columns of the schema"
        yield Problem(file=file, what=what, remedy=STALE)
        return
    for name in expected.columns:
        wrong = _unequal(rows[name], expected[name])
        if name not in skip and wrong.any():
            row = int(wrong.arg_max() or 0)
            values = (repr(column[name].to_list()[row])[:80] for column in (rows, expected))
            what = f"row {first + row}, {name}: {', expected '.join(values)}"
            yield Problem(file=file, what=what, sample_id=expected["sample_id"][row], remedy=STALE)


def _unequal(got: pl.Series, expected: pl.Series) -> pl.Series:
    if got.name in COMPUTED:
        near = (got - expected).abs() <= ROUNDING
        return ~(near.fill_null(False) | (got.is_null() & expected.is_null()))
    return got.ne_missing(expected)


def _cluster_problems(file: str, part: pl.DataFrame, settings: BuildSettings) -> Iterator[Problem]:
    """Clusters follow from embeddings that a shard need not hold, so only their presence is checked."""
    grouped = settings.sampler.grouping != "none" and settings.sampler.name in ORDERED
    clusters = part["cluster"]
    wrong = (clusters.is_null() | (clusters < 0).fill_null(True)) if grouped else clusters.is_not_null()
    if wrong.any():
        what = f"row {wrong.arg_max()}, cluster: frames are {'' if grouped else 'not '}grouped"
        yield Problem(file=file, what=what, remedy=STALE)
