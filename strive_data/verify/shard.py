"""One shard, read once from end to end: its manifest, its bytes, its samples, its rows in the tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from io import BufferedReader
from pathlib import Path

from strive_data.config import BuildSettings
from strive_data.errors import DamagedError
from strive_data.schema import Sample
from strive_data.shards.manifest import Entry, FailedRow, Manifest, manifest_name, question_hash
from strive_data.shards.writer import END_OF_ARCHIVE
from strive_data.verify.problem import Problem
from strive_data.verify.record import checked_manifest
from strive_data.verify.rows import Place, index_problems, part_problems, row_problems
from strive_data.verify.sample import check_sample


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """What to check: a shard of a build; `place` is None where the tables are not to be compared."""

    folder: Path
    shard: str
    settings: BuildSettings
    fingerprint: str
    place: Place | None


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """What was read of a shard, what is wrong with it, and the failures that its manifest tells."""

    problems: tuple[Problem, ...]
    samples: int = 0
    frames: int = 0
    candidates: int = 0
    size_bytes: int = 0
    lost: tuple[FailedRow, ...] = ()


@dataclass(kw_only=True)
class _Reading:
    """State of one pass over a tar."""

    task: ShardTask
    problems: list[Problem] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    frames: int = 0

    def note(self, what: str, *, sample_id: str | None = None, offset: int | None = None) -> None:
        self.problems.append(Problem(file=self.task.shard, what=what, sample_id=sample_id, offset=offset))


def check_shard(task: ShardTask) -> ShardReport:
    """Read one shard. Memory: one sample's frames, and the table rows of the shard."""
    name = manifest_name(task.shard)
    try:
        manifest = checked_manifest(task.folder / name)
    except DamagedError as error:
        return ShardReport(problems=(Problem(file=name, what=str(error)),))
    reading = _Reading(task=task)
    reading.problems += _manifest_problems(task, manifest)
    reading.problems += part_problems(task.folder, manifest, task.place)
    path = task.folder / task.shard
    if not path.is_file():
        reading.note("there is no such file, but its manifest is there")
        return ShardReport(problems=tuple(reading.problems))
    with path.open("rb") as file:
        _read_tar(file, path.stat().st_size, manifest, reading)
    if task.place is not None:
        reading.problems += index_problems(task.folder, task.shard, manifest.samples, task.place)
        if len(reading.samples) == len(manifest.samples):
            reading.problems += row_problems(
                task.folder, task.shard, reading.samples, task.place, task.settings
            )
    return ShardReport(
        problems=tuple(reading.problems),
        samples=len(reading.samples),
        frames=reading.frames,
        candidates=sum(len(sample.times) for sample in reading.samples),
        size_bytes=manifest.size_bytes,
        lost=manifest.failures,
    )


def _manifest_problems(task: ShardTask, manifest: Manifest) -> Iterator[Problem]:
    name = manifest_name(task.shard)
    if manifest.shard != task.shard:
        yield Problem(file=name, what=f"it is the manifest of {manifest.shard}")
    if manifest.settings != task.fingerprint:
        what = f"settings fingerprint {manifest.settings}, the build's is {task.fingerprint}"
        yield Problem(file=name, what=what, todo="the shard is of a build with other settings: build again")


def _read_tar(file: BufferedReader, size_bytes: int, manifest: Manifest, reading: _Reading) -> None:
    if size_bytes != manifest.size_bytes:
        reading.note(f"{size_bytes} bytes, its manifest says {manifest.size_bytes}", offset=size_bytes)
    digest, at = sha256(), 0
    for entry in manifest.samples:
        if entry.offset != at:
            reading.note(f"its manifest says byte {entry.offset}", sample_id=entry.sample_id, offset=at)
        block = file.read(min(entry.length, size_bytes - at))
        digest.update(block)
        _check_block(block, at, entry, reading)
        at += len(block)
    end = file.read(len(END_OF_ARCHIVE) + 1)
    digest.update(end)
    if end != END_OF_ARCHIVE:
        reading.note("the tar does not end here with two empty blocks", offset=at)
        while rest := file.read(1 << 20):
            digest.update(rest)
    if digest.hexdigest() != manifest.sha256:
        reading.note("its bytes do not have the sha256 of its manifest")


def _check_block(block: bytes, at: int, entry: Entry, reading: _Reading) -> None:
    if len(block) < entry.length:
        what = f"cut off: {len(block)} of {entry.length} bytes are there"
        reading.note(what, sample_id=entry.sample_id, offset=at + len(block))
        return
    intact = sha256(block).hexdigest() == entry.sha256
    if not intact:
        what = f"the {entry.length} bytes from here do not have the sha256 of its manifest"
        reading.note(what, sample_id=entry.sample_id, offset=at)
    sample, found = check_sample(block, entry.sample_id, reading.task.settings)
    if sample is not None and question_hash(sample.meta.question) != entry.question:
        found.append((0, "json: not the question of its manifest"))
    for offset, what in found:
        reading.note(what, sample_id=entry.sample_id, offset=at + offset)
    if sample is not None:
        reading.frames += len(sample.jpegs)
        if intact and not found:
            reading.samples.append(replace(sample, jpegs=()))
