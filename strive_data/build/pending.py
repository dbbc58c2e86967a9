"""Which rows of the annotation are pending, given the rows that a build has settled. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from strive_data.annotations.read import Annotations
from strive_data.engines.engine import VideoJob, jobs_of, video_key
from strive_data.errors import FailureKind, UsageError
from strive_data.schema import FailedRow, Question, question_hash
from strive_data.shards.build_state import BuildState

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

    @property
    def questions(self) -> int:
        """Number of rows to be made."""
        return sum(q.sample_id not in self.settled for job in self.jobs for _, q in job.rows)


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
            raise UsageError(_refusal(f"the row of sample {sample_id!r} is missing"))
        elif failure.kind not in MISSING:
            raise UsageError(_refusal(f"sample {sample_id!r}, {failure.message}"))


def all_failures(rows: Annotations, state: BuildState) -> list[FailedRow]:
    """All failures of a build: unusable rows of the annotation, and rows that were tried and failed.

    Row numbers and places are those of the annotation as it is now.
    """
    unusable = [row for row in rows.failures if row.kind not in MISSING or row.sample_id not in state.done]
    tried = [
        _with_place(state.failed[question.sample_id], rows, number, question)
        for number, question in rows.questions
        if question.sample_id in state.failed
    ]
    return unusable + tried


def _with_place(failure: FailedRow, rows: Annotations, number: int, question: Question) -> FailedRow:
    """A failure of a video with the place of its row behind its message, as in "v.mp4: … (q.csv line 7)"."""
    message = f"{failure.message} ({rows.places.of(number)})"
    return replace(failure, row=number, video=question.video, message=message)


def _refusal(what: str) -> str:
    return (
        f"{what}, but the build holds its sample: rows may be added to a build, not changed or removed. "
        "Restore the row, or name a new --out folder"
    )
