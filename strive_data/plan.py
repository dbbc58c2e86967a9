"""What is left to do: the rows of the annotation against the rows that a build has settled. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from strive_data.annotations.read import Annotations
from strive_data.engines.engine import Row, VideoJob
from strive_data.errors import FailureKind, UsageError
from strive_data.schema import Failure, Question
from strive_data.shards.build_state import BuildState
from strive_data.shards.manifest import failure_of, question_hash

# A video that was built and is gone since costs nothing: its samples are done.
GONE = frozenset({FailureKind.MISSING, FailureKind.OUTSIDE_ROOT})


@dataclass(frozen=True, kw_only=True)
class PendingJobs:
    """`jobs` in the order of their first row; `settled` are ids of rows in them that are not written anew.

    `attempt` is the round of `--retry-failed` that the jobs belong to.
    """

    jobs: tuple[VideoJob, ...]
    settled: frozenset[str]
    attempt: int
    videos: int

    @property
    def questions(self) -> int:
        """Rows that are to be made."""
        return sum(q.sample_id not in self.settled for job in self.jobs for _, q in job.rows)


def plan_pending_jobs(
    rows: Annotations, ledger: BuildState, data_root: Path | str, *, retry_failed: bool = False
) -> PendingJobs:
    """Jobs for all rows that are not settled, one a video.

    A row is settled by its sample, or by its failure in this round. A video in the middle of which a shard
    was full comes with all of its rows again, so that its scores do not depend on the interruption.
    Raises UsageError where rows of finished samples were changed or removed.
    """
    refuse_changed_rows(rows, ledger)
    attempt = next_attempt(ledger, retry_failed=retry_failed)
    unfinished = frozenset(ledger.unfinished)
    pending = [row for row in rows.questions if not is_settled(row[1], ledger, attempt)]
    open_ids = {question.sample_id for _, question in pending} | unfinished
    if not any(question.sample_id in unfinished for _, question in pending):
        open_ids -= unfinished
    wanted = [row for row in rows.questions if row[1].sample_id in open_ids]
    pending_ids = {question.sample_id for _, question in pending}
    return PendingJobs(
        jobs=tuple(jobs_of(wanted, data_root)),
        settled=frozenset(open_ids - pending_ids),
        attempt=attempt,
        videos=len({question.video for _, question in rows.questions}),
    )


def next_attempt(ledger: BuildState, *, retry_failed: bool) -> int:
    """The round that a start belongs to: a new one where failed rows are to be tried again.

    A round that was interrupted goes on, so that the same command ends with the same bytes.
    """
    if retry_failed and (ledger.complete or ledger.attempt == 0):
        return ledger.attempt + 1
    return ledger.attempt


def is_settled(question: Question, ledger: BuildState, attempt: int) -> bool:
    """Whether nothing is left to do for a row: it is a sample, or failed in this round as it stands now."""
    if question.sample_id in ledger.done:
        return True
    tried = ledger.failed.get(question.sample_id)
    return tried is not None and tried.attempt >= attempt and tried.lost.question == question_hash(question)


def jobs_of(rows: Sequence[Row], data_root: Path | str) -> list[VideoJob]:
    """One job for each video, in the order of their first row: each is decoded and embedded once."""
    videos: dict[str, list[Row]] = {}
    for row in rows:
        videos.setdefault(row[1].video, []).append(row)
    return [VideoJob(name=name, path=below(data_root, name), rows=tuple(of)) for name, of in videos.items()]


def below(data_root: Path | str, name: str) -> Path | str:
    """Path or URL of a video."""
    return data_root / name if isinstance(data_root, Path) else f"{data_root}/{name}"


def refuse_changed_rows(rows: Annotations, ledger: BuildState) -> None:
    """Raise UsageError for the first finished sample whose row is not in the annotation as it was."""
    if not ledger.done:
        return
    now = {question.sample_id: row for row in rows.questions for question in (row[1],)}
    unusable = {failure.sample_id: failure for failure in rows.failures if failure.sample_id not in now}
    for sample_id, built_from in ledger.done.items():
        failure = unusable.get(sample_id)
        if sample_id in now:
            number, question = now[sample_id]
            if question_hash(question) != built_from:
                raise UsageError(_refusal(f"row {number} (sample {sample_id!r}) is another question now"))
        elif failure is None:
            raise UsageError(_refusal(f"the row of sample {sample_id!r} is gone"))
        elif failure.kind not in GONE:
            raise UsageError(_refusal(f"row {failure.row} (sample {sample_id!r}): {failure.message}"))


def failures_of(rows: Annotations, ledger: BuildState) -> list[Failure]:
    """All failures of a build: unusable rows of the annotation, and rows that were tried in vain.

    They carry the row numbers of the annotation as it is now.
    """
    found = [
        failure
        for failure in rows.failures
        if failure.kind not in GONE or failure.sample_id not in ledger.done
    ]
    for number, question in rows.questions:
        if question.sample_id in ledger.failed:
            found.append(failure_of(ledger.failed[question.sample_id].lost, number, question))
    return found


def _refusal(what: str) -> str:
    return (
        f"{what}, but the build holds its sample: rows may be added to a build, not changed or removed. "
        "Restore the row, or name a new --out folder"
    )
