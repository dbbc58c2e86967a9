"""Verify a finished build in the order in which one file protects the next, and name each problem.

run.json by its own checksum → tables and manifests by run.json → tars by their manifests → tables by the
samples. All problems are collected; several processes read the shards.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.build.progress import Observe
from strive_data.build.verify_shard import STALE, Problem, ShardReport, check_shard
from strive_data.common.files import file_sha256, near_path
from strive_data.common.process_pool import WorkerDiedError, WorkerPool, in_order
from strive_data.common.settings import as_dict, fingerprint, load
from strive_data.config import BuildSettings
from strive_data.errors import DamagedError, FailureKind, SettingsError, StriveError, UsageError
from strive_data.shards.finalize import counts_of
from strive_data.shards.manifest import (
    BUILD_FILE,
    CHECKSUM_KEY,
    FAILURES_FILE,
    FILES,
    FRAMES_FILE,
    INDEX_FILE,
    PASS_RATES_FILE,
    RUN_FILE,
    SAMPLES_FILE,
    TABLE_FILES,
    TRAILING_FILE,
    is_manifest,
    manifest_name,
    read_trailing_failures,
    shard_name,
    shard_of,
)
from strive_data.shards.reader import SEE_VERIFY, read_run

Task = tuple[Path, str, str, tuple[int, int] | None]
"""Arguments of `check_shard`."""
REMOVE = "remove it"
# Files that people put into a build: reports, plots, exported rows, notes.
OTHER_SUFFIXES = frozenset({".csv", ".html", ".md", ".pdf", ".png", ".svg", ".txt"})


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


def extra_file_problems(folder: Path, run: Mapping[str, Any]) -> Iterator[Problem]:
    """Files and folders that are not part of the build; reports and notes of people are accepted."""
    known = {RUN_FILE, PASS_RATES_FILE, *run[FILES], *shards_of(run)}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in known:
            continue
        if entry.name.startswith(".") or entry.name.endswith((".tmp", ".part")):
            yield Problem(file=entry.name, what="a file of an interrupted command", remedy=REMOVE)
        elif shard_of(entry.name):
            yield Problem(file=entry.name, what=f"a shard that {RUN_FILE} does not list", remedy=REMOVE)
        elif entry.is_dir() or Path(entry.name).suffix not in OTHER_SUFFIXES:
            remedy = f"{REMOVE}, or move it to another folder"
            yield Problem(file=entry.name, what="not part of a build", remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """All problems, and how much was read."""

    problems: tuple[Problem, ...]
    shards: int = 0
    samples: int = 0
    frames: int = 0
    size_bytes: int = 0


def verify_build(folder: Path, *, workers: int = 0, observe: Observe | None = None) -> VerifyResult:
    """Read every byte of a finished build; `workers` processes, 0: one a core, 1: this process only.

    Raises UsageError if there is no such folder, or no build in it. Memory does not grow with the shards.
    """
    if not folder.is_dir():
        expected = "expected the --out folder of `strive-data build`"
        raise UsageError(f"no such folder: {folder}{near_path(folder)} ({expected})")
    if not any((folder / name).exists() for name in (BUILD_FILE, RUN_FILE)):
        raise UsageError(
            f"{folder} holds no build (no {RUN_FILE}, no {BUILD_FILE}): name the --out folder of "
            "`strive-data build`"
        )
    try:
        run, settings = read_record(folder)
    except StriveError as error:
        what = str(error).removeprefix(f"{folder / RUN_FILE} ").removesuffix(f": {SEE_VERIFY}")
        return VerifyResult(problems=(Problem(file=RUN_FILE, what=what),))
    problems = [*file_problems(folder, run), *extra_file_problems(folder, run)]
    tables_sound = {problem.file for problem in problems}.isdisjoint(TABLE_FILES)
    try:
        first_rows = _first_rows(folder) if tables_sound else {}
    except pl.exceptions.PolarsError as error:
        problems.append(Problem(file=SAMPLES_FILE, what=f"it cannot be read as a table: {error}"))
        tables_sound, first_rows = False, {}
    tasks: list[Task] = [
        (folder, shard, fingerprint(settings), first_rows.get(shard)) for shard in shards_of(run)
    ]
    reports: list[ShardReport] = []
    for report in _check_all(tasks, workers or os.cpu_count() or 1):
        reports.append(report)
        problems += report.problems
        if observe:
            observe(len(reports), len(tasks), sum(report.size_bytes for report in reports))
    if tables_sound:
        problems += _table_problems(folder, run["counts"], reports)
    return VerifyResult(
        problems=tuple(problems),
        shards=len(reports),
        samples=sum(report.samples for report in reports),
        frames=sum(report.frames for report in reports),
        size_bytes=sum(report.size_bytes for report in reports),
    )


def _first_rows(folder: Path) -> dict[str, tuple[int, int]]:
    """Where the rows of each shard start, in the samples and in the frames table."""
    rows = pl.scan_parquet(folder / SAMPLES_FILE).select("shard", "candidates")
    counts = rows.group_by("shard", maintain_order=True).agg(
        samples=pl.len(), frames=pl.col("candidates").sum()
    )
    first = counts.with_columns(pl.col("samples", "frames").cum_sum().shift(1, fill_value=0)).collect()
    return {shard: (samples, frames) for shard, samples, frames in first.rows()}


def _table_problems(
    folder: Path, recorded: Mapping[str, int], reports: Sequence[ShardReport]
) -> Iterator[Problem]:
    """Tables that do not agree with the shards as a whole: counts, repeated ids, failed rows."""
    try:
        if not any(report.problems for report in reports):
            yield from _count_problems(folder, recorded, reports)
        yield from _failure_problems(folder, reports)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).splitlines()[0][:200]
        yield Problem(file=FAILURES_FILE, what=f"the tables cannot be read: {reason}")
    except DamagedError as error:
        yield Problem(file=TRAILING_FILE, what=str(error))


def _count_problems(
    folder: Path, recorded: Mapping[str, int], reports: Sequence[ShardReport]
) -> Iterator[Problem]:
    samples, candidates = (
        sum(getattr(report, name) for report in reports) for name in ("samples", "candidates")
    )
    for file, count in {SAMPLES_FILE: samples, INDEX_FILE: samples, FRAMES_FILE: candidates}.items():
        found = pl.scan_parquet(folder / file).select(pl.len()).collect().item()
        if found != count:
            yield Problem(file=file, what=f"{found} rows, the shards account for {count}", remedy=STALE)
    size_bytes = sum(report.size_bytes for report in reports)
    counts = counts_of(folder, samples=samples, shards=len(reports), size_bytes=size_bytes)
    if "tried_videos" not in recorded:  # older builds call these their videos
        counts["videos"] = counts.pop("tried_videos")
    for name, count in counts.items():
        if recorded.get(name) != count:
            what = f"counts {recorded.get(name)} {name}, but there are {count}"
            yield Problem(file=RUN_FILE, what=what, remedy=STALE)


def _failure_problems(folder: Path, reports: Iterable[ShardReport]) -> Iterator[Problem]:
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
    recorded = (*trailing, *(failure for report in reports for failure in report.failures))
    known = {(row.sample_id, row.stage, str(row.kind)): row.message for row in recorded}
    tried = failures.filter(pl.col("stage") != "annotation")
    for *row, message in tried.select("sample_id", "stage", "kind", "message").collect().rows():
        # The table adds where the row lies: "message (rows.csv line 7)".
        if (was := known.get(tuple(row))) is None or not message.startswith(was):
            what = "neither a manifest nor tail.json records this failure"
            yield Problem(file=FAILURES_FILE, what=what, sample_id=row[0], remedy=STALE)


def _check_all(tasks: Sequence[Task], workers: int) -> Iterator[ShardReport]:
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
                yield ShardReport(problems=(Problem(file=task[1], what=what),))
