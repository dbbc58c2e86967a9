"""The order of the offline stages, and nothing else (DESIGN.md section 1).

annotation rows → what is left to do → an engine (decode, score, sample) → shards → tables and run.json
A row or video that cannot be used becomes a failure row and costs no other sample. A build that was stopped
at any moment goes on where it was, and ends with the bytes of one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from strive_data.annotations.read import Annotations, read_inputs, video_root
from strive_data.common.settings import choose
from strive_data.common.storage import place_of
from strive_data.config import BuildSettings
from strive_data.engines.engine import Engine
from strive_data.engines.ray import ClusterOptions
from strive_data.engines.registry import ENGINES, make_engine
from strive_data.errors import UsageError
from strive_data.plan import GONE, PendingJobs, failures_of, plan_pending_jobs
from strive_data.progress import Observer, ProgressTotals
from strive_data.run import BuildSummary, FailureCount, RunStats, run_jobs, sum_up
from strive_data.schema import Failure
from strive_data.shards.build_state import BuildState, close, read_build_state, start_build
from strive_data.shards.finalize import TABLE_FILES, finalize
from strive_data.shards.output import Output, open_output
from strive_data.shards.provenance import package_versions
from strive_data.shards.reader import read_run
from strive_data.shards.tables import FAILURES_FILE, failures_table
from strive_data.shards.writer import ShardStream


def build(
    annotations: Sequence[Path | str],
    *,
    data_root: Path | str,
    out: Path | str,
    settings: BuildSettings,
    observer: Observer,
    workers: int = 0,
    recipe: str | None = None,
    cache: Path | None = None,
    engine: str = "local",
    cluster: ClusterOptions | None = None,
    retry_failed: bool = False,
) -> BuildSummary:
    """Build shards and tables of all usable rows into `out`, `run.json` last; go on where an earlier one was.

    Annotations, data root and output are paths, or URLs of storages that fsspec knows (storage.py).
    `workers` is the number of decoding processes, 0 for one a core; `recipe` as for `read_annotations`;
    `cache` is a folder where decoded and embedded videos are kept for later builds (cache.py); `engine` where
    videos are decoded and scored (engines/), `cluster` the one of "ray". None of them changes a byte. Rows
    that were added to the annotation since become new shards behind the old ones; `retry_failed` tries failed
    rows again.

    Raises UsageError for an annotation, data root, output or cache folder that cannot be used, other settings
    than the build was begun with, rows that were changed or removed, where no row is usable, and where
    settings or cache need frame embeddings that the scorer does not give; TooManyFailuresError at the limit
    of `settings.failures`; DiskFullError; DamagedError where finished files are gone.
    """
    started = time.monotonic()
    choose(engine, ENGINES, "engine")
    root, places = video_root(data_root), [place_of(where) for where in annotations]
    with open_output(out) as output:
        folder = output.folder
        ledger = read_build_state(folder, settings, sizes=output.sizes())
        rows = read_inputs(places, root, recipe=recipe)
        work = plan_pending_jobs(rows, ledger, root, retry_failed=retry_failed)
        if is_finished(output, rows, ledger, work):
            counts = read_run(folder)["counts"]
            summary = _unchanged(out, ledger, failures_of(rows, ledger), started, counts)
            return replace(summary, readings=rows.readings)
        stop_if_missing(rows, ledger, settings)
        chosen = None
        if work.jobs:
            ledger = begun_elsewhere(output, settings, ledger, work.attempt)
            chosen = make_engine(engine, settings, workers=workers, cache=cache, cluster=cluster)
        observer.start(_workload(rows, ledger, work))
        done = _make(chosen, output, rows, settings, ledger, work, observer, started)
        failures = failures_of(rows, done.ledger)
        summary = _summary(out, done.ledger, failures, started, done.counts)
        return replace(
            summary,
            readings=rows.readings,
            resumed=len(ledger.done),
            cached_videos=done.seen.cached_videos,
            damaged_entries=tuple(done.seen.damaged_entries),
        )


def begun_elsewhere(output: Output, settings: BuildSettings, ledger: BuildState, attempt: int) -> BuildState:
    """The ledger, with a new output at a URL begun: if it cannot be written, no model is loaded in vain.

    Raises as `Output.publish`.
    """
    if ledger.begun or not output.remote:
        return ledger
    start_build(output.folder, settings, ledger, attempt)
    output.publish()
    return replace(ledger, begun=True, attempt=attempt)


@dataclass(frozen=True, kw_only=True)
class _Done:
    """What a start made: the ledger as it is now, what was seen on the way, the counts of `run.json`."""

    ledger: BuildState
    seen: RunStats
    counts: Mapping[str, int]


def _make(
    engine: Engine | None,
    output: Output,
    rows: Annotations,
    settings: BuildSettings,
    ledger: BuildState,
    work: PendingJobs,
    observer: Observer,
    started: float,
) -> _Done:
    """Shards of what is left to do, then tables and `run.json` of all."""
    start_build(output.folder, settings, ledger, work.attempt)
    output.publish()
    with ShardStream(
        output.folder,
        settings,
        manifests=ledger.manifests,
        attempt=work.attempt,
        committed=output.publish,
    ) as stream:
        counted = FailureCount(settings.failures)
        seen = run_jobs(engine, work, stream, observer, counted) if engine else RunStats()
        stream.finish()
    closed, tail = close(ledger, stream.manifests, stream.trailing, work.attempt)
    output.fetch_parts(closed.manifests)
    counts = finalize(
        output.folder,
        rows,
        settings,
        manifests=closed.manifests,
        tail=tail,
        failures=failures_of(rows, closed),
        versions=ledger.versions or package_versions(),
        seconds=time.monotonic() - started,
        stage_seconds=seen.watch.seconds,
        parts=ledger.parts,
    )
    output.publish()
    observer.finish(shards=counts["shards"], written_bytes=counts["bytes"])
    return _Done(ledger=closed, seen=seen, counts=counts)


def is_finished(output: Output, rows: Annotations, ledger: BuildState, work: PendingJobs) -> bool:
    """Whether the build is complete for this annotation, so that nothing has to be written."""
    if work.jobs or not ledger.complete or not output.sizes().keys() >= set(TABLE_FILES):
        return False
    if read_run(output.folder)["inputs_sha256"] != rows.input_sha256:
        return False
    try:
        table = pl.read_parquet(output.folder / FAILURES_FILE)
    except (pl.exceptions.PolarsError, OSError):  # damaged: the tables are made anew from the manifests
        return False
    return failures_table(failures_of(rows, ledger)).equals(table)


def stop_if_missing(rows: Annotations, ledger: BuildState, settings: BuildSettings) -> None:
    """Raise TooManyFailuresError where too many videos are not there, before anything is decoded.

    A wrong data root makes them all missing; other unusable rows of an annotation say nothing of it.
    """
    missing = [each for each in rows.failures if each.kind in GONE and each.sample_id not in ledger.done]
    FailureCount(settings.failures).add(len(missing) + len(rows.questions), missing)


def _workload(rows: Annotations, ledger: BuildState, work: PendingJobs) -> ProgressTotals:
    """What there is to do. A failed row that is tried again is not counted as failed until it fails again."""
    tried = {row for job in work.jobs for row, question in job.rows if question.sample_id not in work.settled}
    return ProgressTotals(
        videos=work.videos,
        questions=len(rows.questions),
        videos_done=work.videos - len(work.jobs),
        questions_done=len(rows.questions) - work.questions,
        failures=sum(failure.row not in tried for failure in failures_of(rows, ledger)),
        shards=len(ledger.manifests),
        written_bytes=sum(manifest.size_bytes for manifest in ledger.manifests),
    )


def _unchanged(
    out: Path | str,
    ledger: BuildState,
    failures: Sequence[Failure],
    started: float,
    counts: Mapping[str, int],
) -> BuildSummary:
    summary = _summary(out, ledger, failures, started, counts)
    return replace(summary, unchanged=True, resumed=len(ledger.done))


def _summary(
    out: Path | str,
    ledger: BuildState,
    failures: Sequence[Failure],
    started: float,
    counts: Mapping[str, int],
) -> BuildSummary:
    """What the build holds now; `counts` are those of `run.json`.

    Raises UsageError where that is nothing: the reasons are in its tables.
    """
    if not ledger.done:
        reason = f"none of {len(failures)} rows could be used; each one's reason is in {out}/{FAILURES_FILE}"
        raise UsageError("\n".join([reason, *sum_up(failures)]))
    now = package_versions()
    changed = {name: (was, now.get(name)) for name, was in ledger.versions.items() if was != now.get(name)}
    return BuildSummary(
        samples=len(ledger.done),
        videos=counts["videos"],
        tried_videos=counts.get("tried_videos", counts["videos"]),  # older builds have one count
        shards=len(ledger.manifests),
        failures=tuple(failures),
        seconds=time.monotonic() - started,
        versions=changed,
    )
