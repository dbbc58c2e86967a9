from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.annotations.read import Annotations
from strive_data.build.pending import next_attempt, plan_pending_jobs
from strive_data.engines.engine import jobs_of
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import failed_row, question_hash
from strive_data.shards.build_state import BuildState
from strive_data.shards.manifest import Manifest
from tests.strive_data.samples import a_question

ROOT = Path("root")


def annotation(*rows: tuple[str, str]) -> Annotations:
    """Rows of (id, video)."""
    questions = tuple((i, a_question(name, video=video)) for i, (name, video) in enumerate(rows))
    return Annotations(questions=questions, failures=(), input_sha256={})


def ids(jobs: tuple[object, ...]) -> list[tuple[str, list[str]]]:
    return [(job.name, [question.sample_id for _, question in job.rows]) for job in jobs]  # type: ignore[attr-defined]


def test_rows_are_grouped_by_video_in_the_order_of_first_sight() -> None:
    rows = [(i, a_question(str(i), video=video)) for i, video in enumerate("abac")]
    jobs = jobs_of(rows, ROOT)
    numbers = [(job.name, [i for i, _ in job.rows]) for job in jobs]
    assert numbers == [("a", [0, 2]), ("b", [1]), ("c", [3])]
    assert jobs[1].path == Path("root/b")


def test_settled_rows_are_left_out() -> None:
    rows = annotation(("1", "a"), ("2", "b"), ("3", "a"), ("4", "c"))
    questions = [question for _, question in rows.questions]
    state = BuildState(
        done={"1": question_hash(questions[0])},
        failed={"2": failed_row((1, questions[1]), "decode", SampleError(FailureKind.OOM, ""))},
    )
    pending = plan_pending_jobs(rows, state, ROOT)
    assert (ids(pending.jobs), pending.settled, pending.questions, pending.videos) == (
        [("a", ["3"]), ("c", ["4"])],
        set(),
        2,
        3,
    )
    again = plan_pending_jobs(rows, state, ROOT, retry_failed=True)
    assert (ids(again.jobs), again.attempt) == ([("b", ["2"]), ("a", ["3"]), ("c", ["4"])], 1)


def test_a_video_in_which_a_shard_ended_is_decoded_whole_and_first() -> None:
    rows = annotation(("1", "a"), ("2", "b"), ("3", "a"))
    last = Manifest(
        schema_version=1, shard="s", settings="", size_bytes=0, sha256="", unfinished=("1", "3"), samples=()
    )
    state = BuildState(manifests=(last,), done={"1": question_hash(rows.questions[0][1])})
    pending = plan_pending_jobs(rows, state, ROOT)
    assert (ids(pending.jobs), pending.settled, pending.questions) == (
        [("a", ["1", "3"]), ("b", ["2"])],
        {"1"},
        2,
    )


@pytest.mark.parametrize(
    ("complete", "attempt", "retry", "wanted"),
    [(False, 0, False, 0), (False, 0, True, 1), (False, 1, True, 1), (True, 1, True, 2), (True, 1, False, 1)],
)
def test_an_interrupted_round_continues(complete: bool, attempt: int, retry: bool, wanted: int) -> None:
    assert next_attempt(BuildState(complete=complete, attempt=attempt), retry_failed=retry) == wanted


def test_a_folder_with_several_rates_counts_once_a_rate() -> None:
    """Else more videos would be to do than there are."""
    rows = tuple((i, replace(a_question(str(i), video="clip"), fps=rate)) for i, rate in enumerate((1, 2, 1)))
    pending = plan_pending_jobs(Annotations(questions=rows, failures=(), input_sha256={}), BuildState(), ROOT)
    assert (len(pending.jobs), pending.videos) == (2, 2)
