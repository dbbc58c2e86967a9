"""The whole of a build, in the order in which one thing vouches for the next.

run.json by its own checksum → tables and manifests by run.json → tars by their manifests → samples by the
contract → tables by the samples. All problems are collected; shards are read by several processes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from strive_data.common.process_pool import WorkerDiedError, WorkerPool
from strive_data.errors import DamagedError, UsageError
from strive_data.shards.build_state import TAIL_FILE
from strive_data.shards.finalize import TABLE_FILES
from strive_data.shards.manifest import read_trailing_failures
from strive_data.shards.reader import INDEX_FILE, RUN_FILE
from strive_data.shards.tables import FRAMES_FILE, SAMPLES_FILE
from strive_data.verify.problem import Problem
from strive_data.verify.record import Record, begun_problems, file_problems, read_record, stray_problems
from strive_data.verify.shard import ShardReport, ShardTask, check_shard
from strive_data.verify.tables import (
    places,
    row_count_problems,
    schema_problems,
    table_problems,
    untold_problems,
)

Observe = Callable[[int, int, int], None]
"""Told (shards read, shards in all, bytes read) after each shard."""

WAITING_PER_WORKER = 2


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All that is wrong, and how much was read."""

    problems: tuple[Problem, ...]
    shards: int = 0
    samples: int = 0
    frames: int = 0
    size_bytes: int = 0


def verify_build(folder: Path, *, workers: int = 0, observe: Observe | None = None) -> Verdict:
    """Read every byte of a finished build; `workers` processes, 0 for one a core, 1 for none beside this.

    Raises UsageError where `folder` is none. Memory does not grow with the number of shards.
    """
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder} (expected the --out folder of `strive-data build`)")
    try:
        record, problems = read_record(folder)
    except DamagedError as error:
        return Verdict(problems=(Problem(file=RUN_FILE, what=str(error).removeprefix(f"{RUN_FILE}: ")),))
    problems += [*file_problems(folder, record), *stray_problems(folder, record)]
    problems += begun_problems(folder, record)
    damaged = {problem.file for problem in problems}
    readable = damaged.isdisjoint(TABLE_FILES)
    if readable:
        unreadable = list(schema_problems(folder))
        readable, problems = not unreadable, problems + unreadable
    tasks = _tasks(folder, record, with_tables=readable)
    reports: list[ShardReport] = []
    for report in _check_all(tasks, workers or os.cpu_count() or 1):
        reports.append(report)
        problems += report.problems
        if observe:
            observe(len(reports), len(tasks), sum(report.size_bytes for report in reports))
    verdict = Verdict(
        problems=(),
        shards=len(reports),
        samples=sum(report.samples for report in reports),
        frames=sum(report.frames for report in reports),
        size_bytes=sum(report.size_bytes for report in reports),
    )
    if readable:
        problems += table_problems(folder, record)
        if not any(report.problems for report in reports):
            rows = {SAMPLES_FILE: verdict.samples, INDEX_FILE: verdict.samples}
            rows[FRAMES_FILE] = sum(report.candidates for report in reports)
            problems += row_count_problems(folder, rows)
            problems += _told_problems(folder, reports)
    return Verdict(**{**vars(verdict), "problems": tuple(problems)})


def _told_problems(folder: Path, reports: Iterable[ShardReport]) -> Iterator[Problem]:
    try:
        tail = read_trailing_failures(folder / TAIL_FILE)
    except DamagedError as error:
        yield Problem(file=TAIL_FILE, what=str(error))
        return
    yield from untold_problems(folder, (*tail.failures, *(lost for r in reports for lost in r.lost)))


def _tasks(folder: Path, record: Record, *, with_tables: bool) -> list[ShardTask]:
    where = places(folder) if with_tables else {}
    return [
        ShardTask(
            folder=folder,
            shard=shard,
            settings=record.settings,
            fingerprint=record.fingerprint,
            place=where.get(shard),
        )
        for shard in record.shards
    ]


def _check_all(tasks: list[ShardTask], workers: int) -> Iterator[ShardReport]:
    """Reports in the order of the tasks. A shard whose reader dies is one that cannot be read."""
    if workers == 1 or len(tasks) < 2:
        yield from map(check_shard, tasks)
        return
    with WorkerPool(check_shard, min(workers, len(tasks)), name="reading") as pool:
        source = iter(tasks)
        waiting = deque(_submitted(pool, islice(source, workers * WAITING_PER_WORKER)))
        while waiting:
            task, future = waiting.popleft()
            waiting += _submitted(pool, islice(source, 1))
            yield _result(task, future)


def _submitted(
    pool: WorkerPool[ShardReport], tasks: Iterable[ShardTask]
) -> Iterator[tuple[ShardTask, Future[ShardReport]]]:
    return ((task, pool.submit(task)) for task in tasks)


def _result(task: ShardTask, future: Future[ShardReport]) -> ShardReport:
    try:
        return future.result()
    except WorkerDiedError as error:
        what = f"the process that read it died with exit code {error.exit_code}"
        return ShardReport(problems=(Problem(file=task.shard, what=what),))
