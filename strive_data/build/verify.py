"""Verify a finished build in the order in which one file protects the next, and name each problem.

run.json by its own checksum → tables and manifests by run.json → tars by their manifests → tables by the
samples. All problems are collected; several processes read the shards.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import starmap
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.build.progress import Observe
from strive_data.common.files import CHECKSUM_KEY, file_sha256
from strive_data.common.process_pool import WorkerDiedError, WorkerPool, in_order
from strive_data.common.settings import as_dict, fingerprint, load
from strive_data.config import BuildSettings
from strive_data.errors import DamagedError, FailureKind, SettingsError, StriveError
from strive_data.schema import FailedRow, Sample
from strive_data.shards.format import END_OF_ARCHIVE, decode_sample, jpeg_size
from strive_data.shards.manifest import (
    FAILURES_FILE,
    FRAMES_FILE,
    INDEX_FILE,
    PARTS,
    SAMPLES_FILE,
    TABLE_FILES,
    TRAILING_FILE,
    Manifest,
    index_of,
    is_manifest,
    manifest_name,
    read_manifest,
    read_trailing_failures,
    shard_name,
    shard_of,
)
from strive_data.shards.run_file import BUILD_FILE, FILES, RUN_FILE, SEE_VERIFY, read_run, require_started
from strive_data.shards.writer import counts_of, frames_table, samples_table

Task = tuple[Path, str, str, tuple[int, int] | None]
"""Arguments of `check_shard`."""
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


@dataclass(kw_only=True)
class Report:
    """All problems, the failed rows of the manifests, and how many shards, samples, frames, candidates and
    bytes were read."""

    problems: list[Problem] = field(default_factory=list)
    failures: list[FailedRow] = field(default_factory=list)
    read: Counter[str] = field(default_factory=Counter)

    def add(self, other: Report) -> None:
        """Add what else was read."""
        self.problems += other.problems
        self.failures += other.failures
        self.read += other.read


def read_record(folder: Path) -> tuple[dict[str, Any], BuildSettings]:
    """`run.json`, and its settings; its `files` map every name but those of tars and its own to a sha256.

    Raises UsageError if there is none, DamagedError if it is not as it was written.
    """
    run, path = read_run(folder), folder / RUN_FILE
    if CHECKSUM_KEY not in run:
        raise DamagedError(f"{path} has no checksum of its own")
    try:
        settings = load(BuildSettings, options=run["settings"])
    except SettingsError as error:
        raise DamagedError(f"{path} has settings of another version: {error}") from error
    if run["settings"] != as_dict(settings) or run.get("settings_fingerprint") != fingerprint(settings):
        raise DamagedError(f"{path}: settings_fingerprint is not that of its settings")
    for key, kind in ((FILES, str), ("counts", int)):
        values = run.get(key)
        if not isinstance(values, dict) or not all(type(value) is kind for value in values.values()):
            raise DamagedError(f"{RUN_FILE} has no {key}")
    return run, settings


def shards_of(run: Mapping[str, Any]) -> list[str]:
    """Names of the tars, from the listed manifests."""
    return sorted(shard_of(name) or "" for name in run[FILES] if is_manifest(name))


def file_problems(folder: Path, run: Mapping[str, Any]) -> Iterator[Problem]:
    """Files that are missing or changed, and files that `run.json` should list."""
    manifests = (manifest_name(shard_name(number)) for number in range(len(shards_of(run))))
    for name in (*TABLE_FILES, BUILD_FILE, *manifests):
        if name not in run[FILES]:
            yield Problem(file=RUN_FILE, what=f"it does not list {name}")
    for name, digest in run[FILES].items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            yield Problem(file=name, what=f"{RUN_FILE} lists it, but there is no such file")
        elif file_sha256(path) != digest:
            yield Problem(file=name, what=f"it does not have the sha256 of {RUN_FILE}")
    unlisted = {path.name for path in folder.iterdir() if shard_of(path.name)} - {
        *run[FILES],
        *shards_of(run),
    }
    for name in sorted(unlisted):
        yield Problem(file=name, what=f"a shard that {RUN_FILE} does not list", remedy="remove it")


def verify_build(folder: Path, *, workers: int = 0, observe: Observe | None = None) -> Report:
    """Read every byte of a finished build; `workers` processes, 0: one a core, 1: this process only.

    Raises UsageError if there is no such folder, or no build in it. Memory does not grow with the shards.
    """
    require_started(folder)
    try:
        run, settings = read_record(folder)
    except StriveError as error:
        what = str(error).removeprefix(f"{folder / RUN_FILE} ").removesuffix(f": {SEE_VERIFY}")
        return Report(problems=[Problem(file=RUN_FILE, what=what)])
    problems, shards = list(file_problems(folder, run)), Report()
    tables_sound = {problem.file for problem in problems}.isdisjoint(TABLE_FILES)
    try:
        first_rows = _first_rows(folder) if tables_sound else {}
    except pl.exceptions.PolarsError as error:
        problems.append(Problem(file=SAMPLES_FILE, what=f"it cannot be read as a table: {error}"))
        tables_sound, first_rows = False, {}
    tasks: list[Task] = [
        (folder, shard, fingerprint(settings), first_rows.get(shard)) for shard in shards_of(run)
    ]
    for report in _check_all(tasks, workers or os.cpu_count() or 1):
        shards.add(report)
        if observe:
            observe(shards.read["shards"], len(tasks), shards.read["bytes"])
    tables = list(_table_problems(folder, run["counts"], shards)) if tables_sound else []
    if tables_sound and PARTS not in run:  # builds that were joined may each have a video of this name
        tables += _mixed_videos(folder)
    return replace(shards, problems=[*problems, *shards.problems, *tables])


def _first_rows(folder: Path) -> dict[str, tuple[int, int]]:
    """Where the rows of each shard start, in the samples and in the frames table."""
    rows = pl.scan_parquet(folder / SAMPLES_FILE).select("shard", "candidates")
    counts = rows.group_by("shard", maintain_order=True).agg(
        samples=pl.len(), frames=pl.col("candidates").sum()
    )
    first = counts.with_columns(pl.col("samples", "frames").cum_sum().shift(1, fill_value=0)).collect()
    return {shard: (samples, frames) for shard, samples, frames in first.rows()}


def _table_problems(folder: Path, recorded: Mapping[str, int], shards: Report) -> Iterator[Problem]:
    """Tables that do not agree with the shards as a whole: counts, repeated ids, failed rows."""
    try:
        if not shards.problems:
            yield from _count_problems(folder, recorded, shards.read)
        yield from _failure_problems(folder, shards.failures)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).splitlines()[0][:200]
        yield Problem(file=FAILURES_FILE, what=f"the tables cannot be read: {reason}")
    except DamagedError as error:
        yield Problem(file=TRAILING_FILE, what=str(error))


def _count_problems(folder: Path, recorded: Mapping[str, int], read: Counter[str]) -> Iterator[Problem]:
    rows = {SAMPLES_FILE: "samples", INDEX_FILE: "samples", FRAMES_FILE: "candidates"}
    for file, count in ((file, read[what]) for file, what in rows.items()):
        found = pl.scan_parquet(folder / file).select(pl.len()).collect().item()
        if found != count:
            yield Problem(file=file, what=f"{found} rows, the shards account for {count}", remedy=STALE)
    counts = counts_of(folder, samples=read["samples"], shards=read["shards"], size_bytes=read["bytes"])
    if "tried_videos" not in recorded:  # older builds call these their videos
        counts["videos"] = counts.pop("tried_videos")
    for name, count in counts.items():
        if recorded.get(name) != count:
            what = f"counts {recorded.get(name)} {name}, but there are {count}"
            yield Problem(file=RUN_FILE, what=what, remedy=STALE)


def _failure_problems(folder: Path, failed: Iterable[FailedRow]) -> Iterator[Problem]:
    """Sample ids that occur twice or also failed, and failed rows that no manifest records."""
    samples, failures = (pl.scan_parquet(folder / file) for file in (SAMPLES_FILE, FAILURES_FILE))
    twice = samples.group_by("sample_id").len().filter(pl.col("len") > 1).sort("sample_id").collect()
    for sample_id in twice["sample_id"]:
        yield Problem(file=SAMPLES_FILE, what="the id occurs more than once", sample_id=sample_id)
    # A second row with the id of a sample is a failed row of its own.
    others = failures.filter(pl.col("kind") != FailureKind.DUPLICATE_ID.value)
    for sample_id in others.join(samples, on="sample_id", how="semi").collect()["sample_id"]:
        yield Problem(file=FAILURES_FILE, what="it is also a sample", sample_id=sample_id, remedy=STALE)
    trailing = read_trailing_failures(folder / TRAILING_FILE).failures
    known = {(row.sample_id, row.stage, str(row.kind)): row.message for row in (*trailing, *failed)}
    tried = failures.filter(pl.col("stage") != "annotation")
    for *row, message in tried.select("sample_id", "stage", "kind", "message").collect().rows():
        # The table adds where the row lies: "message (rows.csv line 7)".
        if (was := known.get(tuple(row))) is None or not message.startswith(was):
            what = "neither a manifest nor tail.json records this failure"
            yield Problem(file=FAILURES_FILE, what=what, sample_id=row[0], remedy=STALE)


def _mixed_videos(folder: Path) -> Iterator[Problem]:
    """Videos whose file was replaced while the build grew."""
    rows = pl.scan_parquet(folder / SAMPLES_FILE).group_by("video").agg(pl.col("video_id").n_unique())
    for video, count in rows.filter(pl.col("video_id") > 1).sort("video").collect().rows():
        what = f"its samples of {video!r} are of {count} different videos"
        remedy = "the file was replaced while the build grew: build into a new folder"
        yield Problem(file=SAMPLES_FILE, what=what, remedy=remedy)


def _check_all(tasks: Sequence[Task], workers: int) -> Iterator[Report]:
    """Reports in the order of the tasks. If a process dies, the report names the shard that it read."""
    if workers == 1 or len(tasks) < 2:
        yield from starmap(check_shard, tasks)
        return
    with WorkerPool(check_shard, min(workers, len(tasks)), name="reading") as pool:
        for task, future in in_order(tasks, lambda task: pool.submit(*task), most=2 * workers):
            try:
                yield future.result()
            except WorkerDiedError as error:
                what = f"the process that read it died with exit code {error.exit_code}"
                yield Report(problems=[Problem(file=task[1], what=what)], read=Counter(shards=1))


def check_shard(folder: Path, shard: str, settings: str, first: tuple[int, int] | None) -> Report:
    """Read one shard from start to end. Memory: one sample's frames, and the table rows of the shard.

    `settings` is the fingerprint of the build's. `first` is where the rows of the shard start, in the samples
    table (and the index) and in the frames table; None if the tables are damaged: they are not compared.
    """
    report, samples, name = Report(read=Counter(shards=1)), list[Sample](), manifest_name(shard)
    try:
        manifest = read_manifest(folder / name)
    except DamagedError as error:
        report.problems.append(Problem(file=name, what=str(error)))
        return report
    if manifest.shard != shard:
        report.problems.append(Problem(file=name, what=f"it is the manifest of {manifest.shard}"))
    if manifest.settings != settings:
        what = f"settings fingerprint {manifest.settings}, expected {settings}"
        remedy = "the shard has other settings: build again"
        report.problems.append(Problem(file=name, what=what, remedy=remedy))
    for found in _read_tar(folder / shard, manifest):
        if isinstance(found, Problem):
            report.problems.append(found)
        else:
            report.read.update(samples=1, frames=len(found.jpegs), candidates=len(found.times))
            samples.append(replace(found, jpegs=()))
    if first is not None:
        index = index_of([replace(manifest, shard=shard)])
        report.problems += _differences(folder / INDEX_FILE, first[0], index)
        if len(samples) == len(manifest.samples):  # else the shard has problems, and tells nothing of a table
            report.problems += _differences(folder / SAMPLES_FILE, first[0], samples_table(samples, shard))
            report.problems += _differences(folder / FRAMES_FILE, first[1], frames_table(samples))
    report.failures += manifest.failures
    report.read["bytes"] = manifest.size_bytes
    return report


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
        got, wanted = rows[name], expected[name]
        wrong = got.ne_missing(wanted)
        if name in COMPUTED:
            wrong &= ~((got - wanted).abs() <= ROUNDING).fill_null(False)
        if wrong.any():
            row = int(wrong.arg_max() or 0)
            values = (repr(column[name].to_list()[row])[:80] for column in (rows, expected))
            what = f"row {first + row + 1}, {name}: {', expected '.join(values)}"
            yield Problem(file=table.name, what=what, sample_id=expected["sample_id"][row], remedy=STALE)
