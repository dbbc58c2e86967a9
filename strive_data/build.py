"""The order of the offline stages.

annotation rows → pending jobs → an engine (decode, score, sample) → shards → tables and run.json

A row or video that cannot be used becomes a failed row and affects no other sample. A build that was stopped
at any moment continues with the same command and ends with the same bytes as an uninterrupted one.
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
from strive_data.config import ENGINES, BuildSettings, ClusterOptions
from strive_data.engines.engine import Engine
from strive_data.engines.registry import make_engine
from strive_data.errors import UsageError
from strive_data.inspect.tables import damaged_videos
from strive_data.plan import MISSING, PendingJobs, all_failures, plan_pending_jobs
from strive_data.progress import Observer, ProgressTotals
from strive_data.run import (
    BuildSummary,
    FailureLimits,
    RunStats,
    failure_lines,
    run_jobs,
    scorer_warnings,
)
from strive_data.shards.build_state import BuildState, read_build_state, start_build
from strive_data.shards.finalize import finalize
from strive_data.shards.names import FAILURES_FILE, TABLE_FILES
from strive_data.shards.output import Output, open_output
from strive_data.shards.provenance import package_versions
from strive_data.shards.reader import read_run
from strive_data.shards.tables import failures_table
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
    columns: Mapping[str, str] | None = None,
    cache: Path | None = None,
    engine: str = "local",
    cluster: ClusterOptions | None = None,
    retry_failed: bool = False,
) -> BuildSummary:
    """Build shards and tables of all usable rows in `out`, `run.json` last; continue an earlier build there.

    Annotations, data root and output are paths, or URLs of storages that fsspec knows (storage.py). `workers`
    is the number of decoding processes, 0: one a core; `recipe` and `columns` as for `read_annotations`;
    `cache` a folder that keeps decoded and embedded videos for later builds (cache.py); `engine` says where
    videos are decoded and scored (engines/), `cluster` is for "ray". None of them changes a byte. Rows added
    to the annotation become new shards after the old ones; `retry_failed` tries failed rows again.

    Raises UsageError for an annotation, data root, output or cache folder that cannot be used, for settings
    other than those of the build, for changed or removed rows, if no row is usable, and if settings or cache
    need frame embeddings that the scorer does not give; TooManyFailuresError at a limit of
    `settings.failures`; DiskFullError; DamagedError if finished files are missing.
    """
    started = time.monotonic()
    choose(engine, ENGINES, "engine")
    root, places = video_root(data_root), [place_of(where) for where in annotations]
    with open_output(out) as output:
        state = read_build_state(output.folder, settings, sizes=output.sizes())
        rows = read_inputs(places, root, recipe=recipe, columns=columns or {})
        pending = plan_pending_jobs(rows, state, root, retry_failed=retry_failed)
        if is_up_to_date(output, rows, state, pending):
            summary = _summary(out, rows, state, started, read_run(output.folder)["counts"])
            return replace(summary, unchanged=True, resumed=len(state.done))
        stop_if_videos_missing(rows, state, settings)
        chosen = None
        if pending.jobs:
            state = publish_start(output, settings, state, pending.attempt)
            chosen = make_engine(engine, settings, workers=workers, cache=cache, cluster=cluster)
        warnings = scorer_warnings(settings.score, rows)
        observer.start(replace(progress_totals(rows, state, pending), warnings=warnings))
        work = _Work(output=output, rows=rows, settings=settings, pending=pending, observer=observer)
        finished, stats, counts = work.run(chosen, state, started)
        return replace(
            _summary(out, rows, finished, started, counts),
            resumed=len(state.done),
            cached_videos=stats.cached_videos,
            damaged_entries=tuple(stats.damaged_entries),
            damaged_videos=tuple(damaged_videos(output.folder)),
        )


def publish_start(output: Output, settings: BuildSettings, state: BuildState, attempt: int) -> BuildState:
    """Start a new output at a URL: if it is not writable, this fails before a model is loaded.

    Raises as `Output.publish`.
    """
    if state.started or not output.remote:
        return state
    start_build(output.folder, settings, state, attempt)
    output.publish()
    return replace(state, started=True, attempt=attempt)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """One start of a build that has something to write."""

    output: Output
    rows: Annotations
    settings: BuildSettings
    pending: PendingJobs
    observer: Observer

    def run(
        self, engine: Engine | None, state: BuildState, started: float
    ) -> tuple[BuildState, RunStats, Mapping[str, int]]:
        """Write shards of the pending jobs, then the tables and `run.json` of all; its counts."""
        output, attempt = self.output, self.pending.attempt
        start_build(output.folder, self.settings, state, attempt)
        output.publish()
        with ShardStream(
            output.folder,
            self.settings,
            manifests=state.manifests,
            attempt=attempt,
            committed=output.publish,
        ) as stream:
            limits = FailureLimits(self.settings.failures)
            stats = RunStats()
            if engine:
                stats = run_jobs(engine, self.pending, stream, self.observer, limits)
            stream.finish()
        state = state.at_end(stream.manifests, stream.trailing, attempt)
        output.fetch_parts(state.manifests)
        counts = finalize(
            output.folder,
            self.settings,
            state,
            all_failures(self.rows, state),
            inputs=self.rows.input_sha256,
            recipes={path: reading.recipe for path, reading in self.rows.readings.items()},
            seconds=time.monotonic() - started,
            stage_seconds=stats.watch.seconds,
        )
        output.publish()
        self.observer.finish(shards=counts["shards"], written_bytes=counts["bytes"])
        return state, stats, counts


def is_up_to_date(output: Output, rows: Annotations, state: BuildState, pending: PendingJobs) -> bool:
    """Whether the build is complete for this annotation, so that nothing has to be written."""
    if pending.jobs or not state.complete or not output.sizes().keys() >= set(TABLE_FILES):
        return False
    if read_run(output.folder)["inputs_sha256"] != rows.input_sha256:
        return False
    try:
        table = pl.read_parquet(output.folder / FAILURES_FILE)
    except (pl.exceptions.PolarsError, OSError):  # damaged: all tables are written again
        return False
    return failures_table(all_failures(rows, state)).equals(table)


def stop_if_videos_missing(rows: Annotations, state: BuildState, settings: BuildSettings) -> None:
    """Raise TooManyFailuresError if too many videos are missing, before anything is decoded.

    With a wrong data root all videos are missing. Other unusable rows of the annotation do not count.
    """
    missing = [row for row in rows.failures if row.kind in MISSING and row.sample_id not in state.done]
    FailureLimits(settings.failures).add(len(missing) + len(rows.questions), missing)


def progress_totals(rows: Annotations, state: BuildState, pending: PendingJobs) -> ProgressTotals:
    """What there is to do. A failed row that is tried again counts as failed only if it fails again."""
    retried = {
        row for job in pending.jobs for row, question in job.rows if question.sample_id not in pending.settled
    }
    return ProgressTotals(
        videos=pending.videos,
        questions=len(rows.questions),
        videos_done=pending.videos - len(pending.jobs),
        questions_done=len(rows.questions) - pending.questions,
        failures=sum(failure.row not in retried for failure in all_failures(rows, state)),
        shards=len(state.manifests),
        written_bytes=sum(manifest.size_bytes for manifest in state.manifests),
    )


def _summary(
    out: Path | str, rows: Annotations, state: BuildState, started: float, counts: Mapping[str, int]
) -> BuildSummary:
    """What the build holds now; `counts` are those of `run.json`.

    Raises UsageError if it holds no sample, with the reasons.
    """
    failures = all_failures(rows, state)
    if not state.done:
        reason = f"none of {len(failures)} rows is usable; {out}/{FAILURES_FILE} has the reason for each"
        raise UsageError("\n".join([reason, *failure_lines(failures)]))
    now = package_versions()
    return BuildSummary(
        samples=len(state.done),
        videos=counts["videos"],
        tried_videos=counts.get("tried_videos", counts["videos"]),  # older builds have one count
        shards=len(state.manifests),
        failures=tuple(failures),
        seconds=time.monotonic() - started,
        readings=rows.readings,
        versions={name: (was, now.get(name)) for name, was in state.versions.items() if was != now.get(name)},
    )
