from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from strive_data.annotations.read import Annotations, Reading
from strive_data.build.pipeline import PendingJobs, next_attempt, plan_pending_jobs, run_jobs
from strive_data.build.progress import BuildCounts
from strive_data.build.source_files import SourceFiles
from strive_data.build.summary import (
    BuildSummary,
    FailureLimits,
    TooManyFailuresError,
    failure_lines,
    scorer_warnings,
    stop_reason,
    stopped_line,
    summary_lines,
)
from strive_data.config import FailureSettings, ScoreSettings
from strive_data.engines.engine import jobs_of
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import failed_row, question_hash
from strive_data.shards.build_state import BuildState
from strive_data.shards.manifest import Manifest
from strive_data.shards.writer import ShardStream
from tests.strive_data.made.engine import SETTINGS, FakeEngine, Notes
from tests.strive_data.made.samples import a_failure, a_question


def some_work() -> PendingJobs:
    """Videos a (rows 0, 1, 4), b (2) and c (3); row 0 is settled."""
    rows = [(i, a_question(str(i), video=f"{video}.mp4")) for i, video in enumerate("aabca")]
    return PendingJobs(jobs=tuple(jobs_of(rows, Path())), settled=frozenset("0"), attempt=0, videos=3)


def some_counts() -> BuildCounts:
    return BuildCounts(videos_total=3, questions_total=5, questions=1)


def test_each_video_is_shown_with_what_was_new(tmp_path: Path) -> None:
    notes, counts, limits = Notes(), some_counts(), FailureLimits(FailureSettings())
    with ShardStream(tmp_path, SETTINGS) as stream:
        notes.start(counts, ())
        run_jobs(FakeEngine("b"), some_work(), SourceFiles(), stream, notes, counts, limits)
    seen = [(done.videos, done.questions, done.failures.total(), done.shards) for done in notes.done]
    assert seen == [(1, 3, 0, 0), (2, 4, 1, 0), (3, 5, 1, 1)]
    assert counts.written_bytes == stream.written_bytes > notes.done[0].written_bytes > 0
    assert notes.done[1].watch.seconds["write"] > notes.done[0].watch.seconds["write"] > 0


@pytest.mark.parametrize(
    ("scorer", "video", "warns"),
    [
        ("demo", "videos/world0-0001.mp4", False),
        ("demo", "mine/clip.mp4", True),
        ("cascade", "mine/clip.mp4", True),
        ("clip", "mine/clip.mp4", False),
    ],
)
def test_the_demo_scorer_warns_on_real_videos(scorer: str, video: str, warns: bool) -> None:
    first, second = replace(a_question("a"), video=video), replace(a_question("b"), video="world0-0001.mp4")
    rows = Annotations(questions=((0, first), (1, second)), failures=(), input_sha256={})
    said = scorer_warnings(ScoreSettings(scorer=scorer, cascade_first="demo"), rows)
    assert [text.startswith("warning: 1 question on videos other") for text in said] == [True] * warns


def test_the_limit_stops_the_engine(tmp_path: Path) -> None:
    notes, counts, engine = Notes(), some_counts(), FakeEngine("ab")
    notes.start(counts, ())
    limits = FailureLimits(FailureSettings(max_count=1))
    with ShardStream(tmp_path, SETTINGS) as stream, pytest.raises(TooManyFailuresError):
        run_jobs(engine, some_work(), SourceFiles(), stream, notes, counts, limits)
    assert engine.videos == ["a.mp4"]


@pytest.mark.parametrize(
    ("tried", "failed", "stops"),
    [(49, 49, False), (50, 25, False), (50, 26, True), (1000, 501, True), (1000, 500, False)],
)
def test_a_share_counts_from_some_rows_on(tried: int, failed: int, stops: bool) -> None:
    assert (stop_reason(tried, failed, FailureSettings()) is not None) == stops


def test_a_count_holds_from_the_first_row() -> None:
    limits = FailureSettings(max_count=2)
    assert stop_reason(2, 2, limits) is None
    assert stop_reason(3, 3, limits) == "stopped: 3 of 3 rows failed, failures.max_count is 2"
    assert stop_reason(10**6, 10**6, FailureSettings(max_share=1)) is None


def test_the_summary_names_each_kind_with_its_first_row_and_the_ways_out() -> None:
    limits = FailureLimits(FailureSettings(max_count=3))
    kinds = [FailureKind.NO_MOOV, FailureKind.MISSING, FailureKind.MISSING, FailureKind.MISSING]
    rows = [a_failure(str(i), kind, message=f"m{i}") for i, kind in enumerate(kinds)]
    limits.add(2, rows[:2])
    with pytest.raises(TooManyFailuresError) as raised:
        limits.add(2, rows[2:])
    assert str(raised.value).splitlines()[:4] == [
        "stopped: 4 of 4 rows failed, failures.max_count is 3",
        "  3 missing, for example m1",
        "  1 no_moov, for example m0",
        "  check that --data-root is the folder that the video paths start from",
    ]
    # Regression: the share alone was named, where the count stood in the way.
    assert "(--set failures.max_share=1 --set failures.max_count=0)" in str(raised.value)
    with pytest.raises(TooManyFailuresError, match=r"\(--set failures\.max_share=1\)$"):
        FailureLimits(FailureSettings(min_rows=1)).add(2, rows[2:])


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        ((FailureKind.OOM,), "decode.max_source_pixels"),
        ((FailureKind.BAD_ROW, FailureKind.TIMEOUT, FailureKind.TIMEOUT), "decode.timeout_seconds"),
    ],
)
def test_the_most_frequent_kind_decides_what_to_try(kinds: tuple[FailureKind, ...], says: str) -> None:
    assert says in failure_lines([a_failure(str(i), kind) for i, kind in enumerate(kinds)])[-1]
    assert failure_lines([]) == []


COUNTS = {"samples": 8, "videos": 4, "tried_videos": 4, "shards": 2, "failures": 0}
DONE = BuildSummary(counts=COUNTS, failures=(), seconds=1.25)
OUT, CACHE = Path("out"), Path("cache")


def test_a_plain_build_is_one_line() -> None:
    assert list(summary_lines(DONE, OUT, None)) == [
        "out: 8 samples of 4 videos in 2 shards, 0 failures, 1.2 s"
    ]


def test_what_was_made_of_the_build_before_is_named(tmp_path: Path) -> None:
    """Regression: a report of 7 samples lay beside a build of 12, and nothing said so."""
    (tmp_path / "shard-000000.tar").touch()
    assert len([*summary_lines(DONE, tmp_path, None)]) == 1
    for name in ("report.html", "pass_rates.parquet"):
        (tmp_path / name).touch()
    *_, line = summary_lines(DONE, tmp_path, None)
    assert "older" in line
    assert ("report.html" in line, "pass_rates.parquet" in line, "chosen" in line) == (True, True, False)
    assert "older" not in "".join(summary_lines(replace(DONE, unchanged=True), tmp_path, None))
    assert len([*summary_lines(DONE, "memory://out", None)]) == 1


def test_videos_that_gave_no_sample_are_counted_apart() -> None:
    """Regression: "4 samples of 7 videos" counted five that had failed."""
    (line,) = summary_lines(
        replace(DONE, counts=COUNTS | {"samples": 4, "videos": 2, "tried_videos": 7}), OUT, None
    )
    assert line == "out: 4 samples of 2 videos (7 tried) in 2 shards, 0 failures, 1.2 s"


def test_late_evidence_and_advice_are_a_line_each() -> None:
    late = tuple(f"q{i}" for i in range(7))
    *_, line = summary_lines(replace(DONE, evidence_beyond=late), OUT, None)
    assert line == "  7 questions have evidence beyond the end of the video: q0, q1, q2, q3, q4 and 2 more"
    *_, line = summary_lines(replace(DONE, evidence_beyond=late[:1]), OUT, None)
    assert line == "  1 question has evidence beyond the end of the video: q0"
    *_, line = summary_lines(replace(DONE, equal_variants=3), OUT, None)
    assert line.startswith("  3 samples have equal variants (images, and videos with no more candidates than")
    reading = Reading(recipe="plain", unread=(), advice=("3 free-form answers are numbers",))
    lines = [*summary_lines(replace(DONE, readings={"q.csv": reading}), OUT, None)]
    assert lines[:2] == ["q.csv: recipe plain", "  3 free-form answers are numbers"]


def test_printed_commands_can_be_run_for_any_path() -> None:
    damaged = replace(DONE, damaged_videos=(("a.mp4", 1),))
    *_, how = summary_lines(damaged, Path("my build"), None)
    command = shlex.split(how.partition(": ")[2])
    assert command == ["strive-data", "report", "my build", "--where", "decode_errors > 0"]


def test_damaged_videos_are_named_the_worst_first() -> None:
    damaged = tuple((f"{i}.mp4", 9 - i) for i in range(7))
    *_, line, how = summary_lines(replace(DONE, damaged_videos=damaged), OUT, None)
    assert line.startswith("  decoded with errors: 0.mp4 (9 errors), 1.mp4 (8 errors), ")
    assert line.endswith("4.mp4 (5 errors) and 2 more")
    assert "strive-data report out --where 'decode_errors > 0'" in how


def test_it_says_what_was_there_what_changed_and_what_failed() -> None:
    failures = tuple(a_failure(str(i), FailureKind.OOM, message="m") for i in range(12))
    again = replace(DONE, resumed=3, failures=failures, cached_videos=1, versions={"av": ("1", "2")})
    lines = list(summary_lines(again, OUT, CACHE))
    assert lines[0].startswith("out: started with av 1, now 2")
    assert lines[1] == "cache: 1 of 4 videos came from the cache"
    assert lines[2] == "out: 3 samples kept from earlier starts"
    assert lines[4] == "  oom: m"
    assert lines[-3:-1] == ["  and 2 more: strive-data inspect out --failures", "  by kind: 12 oom"]
    assert "run the same command again" in lines[-1]
    assert "--retry-failed" in lines[-1]
    # Regression: rows that were refused while reading, such as a missing file's, need no --retry-failed.
    refused = tuple(replace(failure, stage="annotation") for failure in failures)
    assert "--retry-failed" not in list(summary_lines(replace(again, failures=refused), OUT, CACHE))[-1]
    unchanged = list(summary_lines(replace(DONE, unchanged=True, resumed=8), OUT, CACHE))
    assert unchanged[0] == "out: already finished, nothing to do"
    assert len(unchanged) == 2
    stale = list(summary_lines(replace(DONE, unchanged=True, failures=failures), OUT, CACHE))
    assert stale[-1] == "  12 rows failed when tried: --retry-failed tries them again"
    assert "out" in stopped_line(OUT)


ROOT = Path("root")


def annotation(*rows: tuple[str, str]) -> Annotations:
    """Rows of (id, video)."""
    questions = tuple((i, a_question(name, video=video)) for i, (name, video) in enumerate(rows))
    return Annotations(questions=questions, failures=(), input_sha256={})


def made(pending: PendingJobs) -> int:
    """Number of rows to be made."""
    return sum(q.sample_id not in pending.settled for job in pending.jobs for _, q in job.rows)


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
    assert ids(pending.jobs) == [("a", ["3"]), ("c", ["4"])]
    assert (pending.settled, made(pending), pending.videos) == (set(), 2, 3)
    again = plan_pending_jobs(rows, state, ROOT, retry_failed=True)
    assert (ids(again.jobs), again.attempt) == ([("b", ["2"]), ("a", ["3"]), ("c", ["4"])], 1)


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        (["v"], ["v-0", "v-1"], "'v' has several questions now"),
        (["v-0", "v-1"], ["v"], "'v-0' has one question now"),
        (["v-0"], ["w"], "row of sample 'v-0' is missing"),
    ],
)
def test_a_conversation_with_more_or_fewer_questions_is_named(
    before: list[str], now: list[str], says: str
) -> None:
    """Regression: its row was said to be missing."""
    rows = annotation(*((name, "a") for name in now))
    with pytest.raises(UsageError, match=says):
        plan_pending_jobs(rows, BuildState(done=dict.fromkeys(before, "")), ROOT)


def test_a_video_in_which_a_shard_ended_is_decoded_whole_and_first() -> None:
    rows = annotation(("1", "a"), ("2", "b"), ("3", "a"))
    last = Manifest(
        schema_version=1, shard="s", settings="", size_bytes=0, sha256="", unfinished=("1", "3"), samples=()
    )
    state = BuildState(manifests=(last,), done={"1": question_hash(rows.questions[0][1])})
    pending = plan_pending_jobs(rows, state, ROOT)
    assert ids(pending.jobs) == [("a", ["1", "3"]), ("b", ["2"])]
    assert (pending.settled, made(pending)) == ({"1"}, 2)


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
