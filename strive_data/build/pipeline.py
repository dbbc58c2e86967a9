"""The order of the offline stages.

annotation rows → pending jobs → an engine (decode, score, sample) → shards → tables and run.json

A row or video that cannot be used becomes a failed row and affects no other sample. A build that was stopped
at any moment continues with the same command and ends with the same bytes as an uninterrupted one: rows that
it has settled are not made again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from strive_data.annotations.read import Annotations, read_inputs, video_root
from strive_data.build.progress import BuildCounts, BuildProgress
from strive_data.build.source_files import SourceFiles, source_files
from strive_data.build.summary import (
    BuildSummary,
    FailureLimits,
    failure_lines,
    reading_lines,
    scorer_warnings,
)
from strive_data.common.settings import choose
from strive_data.common.storage import place_of
from strive_data.config import ENGINES, BuildSettings, ClusterOptions
from strive_data.engines.engine import (
    Engine,
    VideoJob,
    VideoResult,
    jobs_of,
    make_engine,
    video_key,
)
from strive_data.errors import FailureKind, UsageError
from strive_data.inspect.tables import damaged_videos, equal_variants, evidence_beyond
from strive_data.schema import FailedRow, Question, Sample, question_hash
from strive_data.shards.build_state import BuildState, read_build_state, start_build
from strive_data.shards.manifest import FAILURES_FILE, TABLE_FILES, package_versions
from strive_data.shards.output import Output, open_output
from strive_data.shards.run_file import read_run
from strive_data.shards.writer import ShardStream, failures_table, finalize


def build(
    annotations: Sequence[Path | str],
    *,
    data_root: Path | str,
    out: Path | str,
    settings: BuildSettings,
    observer: BuildProgress,
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
    other than those of the build, for changed or removed rows and replaced videos, if no row is usable, and
    if settings or cache need frame embeddings that the scorer does not give; TooManyFailuresError at a limit
    of `settings.failures`; DiskFullError; DamagedError if finished files are missing.
    """
    started, chosen = time.monotonic(), None
    choose(engine, ENGINES, "engine")
    root, places = video_root(data_root), [place_of(where) for where in annotations]
    with open_output(out) as output:
        state = read_build_state(output.folder, settings, sizes=output.sizes())
        rows = read_inputs(places, root, recipe=recipe, columns=columns or {})
        pending = plan_pending_jobs(rows, state, root, retry_failed=retry_failed)
        sources = source_files(rows, state, pending.jobs, output, root, settings, workers=workers)
        if is_up_to_date(output, rows, state, pending):
            sources.refresh(output)
            summary = _summary(out, rows, state, started, read_run(output.folder)["counts"])
            return replace(summary, unchanged=True, resumed=len(state.done))
        stop_if_videos_missing(rows, state, settings)
        if pending.jobs:
            state = publish_start(output, settings, state, pending.attempt)
            chosen = make_engine(engine, settings, workers=workers, cache=cache, cluster=cluster)
        # Said before the first video is decoded: a row that is built cannot be changed.
        notes = (*reading_lines(rows.readings), *scorer_warnings(settings.score, rows))
        progress = counts_before(rows, state, pending)
        observer.start(progress, notes)
        finished = write_shards(chosen, pending, sources, state, output, settings, observer, progress)
        counts = write_tables(rows, finished, output, settings, time.monotonic() - started, progress)
        observer.finish()
        return replace(
            _summary(out, rows, finished, started, counts),
            resumed=len(state.done),
            cached_videos=progress.cached_videos,
            damaged_entries=tuple(progress.damaged_entries),
            damaged_videos=tuple(damaged_videos(output.folder)),
            evidence_beyond=tuple(evidence_beyond(output.folder)),
            equal_variants=equal_variants(output.folder),
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


def run_jobs(
    engine: Engine,
    pending: PendingJobs,
    sources: SourceFiles,
    stream: ShardStream,
    observer: BuildProgress,
    counts: BuildCounts,
    limits: FailureLimits,
) -> None:
    """Write the engine's results for the pending jobs. Raises TooManyFailuresError at one of the limits."""
    # Closing ends the workers, whatever ends the loop.
    with closing(engine.run(pending.jobs)) as results:
        for video in results:
            written = write_video(video, pending, sources, stream, counts)
            observer.advance()
            limits.add(len(written), [result for result in written if isinstance(result, FailedRow)])


def write_video(
    video: VideoResult, pending: PendingJobs, sources: SourceFiles, stream: ShardStream, counts: BuildCounts
) -> list[Sample | FailedRow]:
    """Write and count the results of one video that are not settled; these results."""
    rows = zip(sources.checked(video), video.job.rows, strict=True)
    results = [result for result, (_, question) in rows if question.sample_id not in pending.settled]
    with counts.watch.stage("write"):
        stream.write(results, [question.sample_id for _, question in video.job.rows])
    counts.videos += 1
    counts.questions += len(results)
    counts.failures.update(result.kind for result in results if isinstance(result, FailedRow))
    counts.frames += video.frames
    counts.shards, counts.written_bytes = len(stream.manifests), stream.written_bytes
    counts.watch.add(video.seconds)
    counts.cached_videos += video.from_cache
    if video.damaged_entry is not None:
        counts.damaged_entries.append(video.damaged_entry)
    return results


def write_shards(
    engine: Engine | None,
    pending: PendingJobs,
    sources: SourceFiles,
    state: BuildState,
    output: Output,
    settings: BuildSettings,
    observer: BuildProgress,
    counts: BuildCounts,
) -> BuildState:
    """Write shards of the pending jobs, each committed when it is full; the state with them."""
    attempt, limits = pending.attempt, FailureLimits(settings.failures)
    start_build(output.folder, settings, state, attempt)
    sources.write(output.folder)
    output.publish()
    with ShardStream(
        output.folder, settings, manifests=state.manifests, attempt=attempt, committed=output.publish
    ) as stream:
        if engine:
            run_jobs(engine, pending, sources, stream, observer, counts, limits)
        stream.finish()
    return state.at_end(stream.manifests, stream.trailing, attempt)


def write_tables(
    rows: Annotations,
    state: BuildState,
    output: Output,
    settings: BuildSettings,
    seconds: float,
    progress: BuildCounts,
) -> dict[str, int]:
    """Write the tables and `run.json` of all shards; its counts, of which `progress` gets shards and
    bytes."""
    output.fetch_parts(state.manifests)
    counts = finalize(
        output.folder,
        settings,
        state,
        failures_table(all_failures(rows, state)),
        inputs=rows.input_sha256,
        recipes={path: reading.recipe for path, reading in rows.readings.items()},
        seconds=seconds,
        stage_seconds=progress.watch.seconds,
    )
    output.publish()
    progress.shards, progress.written_bytes = counts["shards"], counts["bytes"]
    return counts


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


def counts_before(rows: Annotations, state: BuildState, pending: PendingJobs) -> BuildCounts:
    """What earlier starts did. A failed row that is tried again counts as failed only if it fails again."""
    retried = {row for job in pending.jobs for row, q in job.rows if q.sample_id not in pending.settled}
    return BuildCounts(
        videos_total=pending.videos,
        questions_total=len(rows.questions),
        videos=pending.videos - len(pending.jobs),
        questions=len(rows.questions) - len(retried),
        failed_before=sum(failure.row not in retried for failure in all_failures(rows, state)),
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
        counts={"tried_videos": counts["videos"], **counts},  # older builds have one count of videos
        failures=tuple(failures),
        seconds=time.monotonic() - started,
        readings=rows.readings,
        versions={name: (was, now.get(name)) for name, was in state.versions.items() if was != now.get(name)},
    )


# A finished video may disappear: its samples stay valid.
MISSING = frozenset({FailureKind.MISSING, FailureKind.OUTSIDE_ROOT})


@dataclass(frozen=True, kw_only=True)
class PendingJobs:
    """`jobs` in the order of their first row; `settled` are ids of rows in them that are not written again.

    `attempt` is the round of `--retry-failed` of the jobs; `videos` counts those of the whole annotation.
    """

    jobs: tuple[VideoJob, ...]
    settled: frozenset[str]
    attempt: int
    videos: int


def plan_pending_jobs(
    rows: Annotations, state: BuildState, data_root: Path | str, *, retry_failed: bool = False
) -> PendingJobs:
    """One job a video for all rows that are not settled.

    A row is settled by its sample, or by a failure in this round. If a shard ended in the middle of a video,
    the job of that video has all of its rows again, so that scores do not depend on the interruption.
    Raises UsageError if rows of finished samples were changed or removed.
    """
    refuse_changed_rows(rows, state)
    attempt = next_attempt(state, retry_failed=retry_failed)
    pending = {
        question.sample_id for _, question in rows.questions if not is_settled(question, state, attempt)
    }
    unfinished = frozenset(state.unfinished)
    wanted = pending | unfinished if pending & unfinished else pending
    jobs = jobs_of([row for row in rows.questions if row[1].sample_id in wanted], data_root)
    return PendingJobs(
        jobs=tuple(jobs),
        settled=frozenset(wanted - pending),
        attempt=attempt,
        videos=len({video_key(question) for _, question in rows.questions}),
    )


def next_attempt(state: BuildState, *, retry_failed: bool) -> int:
    """The round of a start: a new one if failed rows are to be tried again.

    An interrupted round continues, so that the same command ends with the same bytes.
    """
    if retry_failed and (state.complete or state.attempt == 0):
        return state.attempt + 1
    return state.attempt


def is_settled(question: Question, state: BuildState, attempt: int) -> bool:
    """Whether a row needs no work: it has a sample, or failed in this round with its present content."""
    failure = state.failed.get(question.sample_id)
    if failure is None or failure.attempt < attempt:
        return question.sample_id in state.done
    return failure.question_hash == question_hash(question)


def refuse_changed_rows(rows: Annotations, state: BuildState) -> None:
    """Raise UsageError for the first finished sample whose row has changed or is missing."""
    now = {question.sample_id: (number, question) for number, question in rows.questions}
    unusable = {failure.sample_id: failure for failure in rows.failures if failure.sample_id not in now}
    for sample_id, built_from in state.done.items():
        failure = unusable.get(sample_id)
        if sample_id in now:
            number, question = now[sample_id]
            if question_hash(question) != built_from:
                raise UsageError(_refusal(f"{rows.places.of(number)} (sample {sample_id!r}) has changed"))
        elif failure is None:
            raise UsageError(_refusal(_why_missing(sample_id, {**now, **unusable})))
        elif failure.kind not in MISSING:
            raise UsageError(_refusal(f"sample {sample_id!r}, {failure.message}"))


def _why_missing(sample_id: str, ids: Collection[str]) -> str:
    """What became of a sample's row: a question's id has its number where its conversation has several."""
    one, turn = sample_id.rpartition("-")[0], f"{sample_id}-0"
    if turn in ids:
        return f"the conversation of sample {sample_id!r} has several questions now ({turn!r} …), it had one"
    if one in ids:
        return f"the conversation of sample {sample_id!r} has one question now ({one!r}), it had several"
    return f"the row of sample {sample_id!r} is missing"


def all_failures(rows: Annotations, state: BuildState) -> list[FailedRow]:
    """All failures of a build: unusable rows of the annotation, and rows that were tried and failed.

    Row numbers and places are those of the annotation as it is now.
    """
    failures = [row for row in rows.failures if row.kind not in MISSING or row.sample_id not in state.done]
    for number, question in rows.questions:
        if failure := state.failed.get(question.sample_id):
            message = f"{failure.message} ({rows.places.of(number)})"  # as in "v.mp4: … (q.csv line 7)"
            failures.append(replace(failure, row=number, video=question.video, message=message))
    return failures


def _refusal(what: str) -> str:
    return (
        f"{what}, but the build holds its sample: rows may be added to a build, not changed or removed. "
        "Restore the row, or name a new --out folder"
    )
