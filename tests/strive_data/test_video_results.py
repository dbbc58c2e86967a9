from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, Failure, Question, Sample
from strive_data.score import FrameScores
from strive_data.stopwatch import Stopwatch
from strive_data.video_results import samples_of
from tests.strive_data.samples import a_question, build_settings, some_candidates


class CountingScorer:
    """Counts how often a video's frames are scored; fails one question by a score that is not finite."""

    name = "counting"

    def __init__(self) -> None:
        self.calls = 0

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        self.calls += 1
        if len(candidates.frames) == 3:
            raise SampleError(FailureKind.SCORE_FAILED, "three frames")
        return [self._one(len(candidates.frames), question.sample_id) for question in questions]

    def _one(self, count: int, sample_id: str) -> FrameScores | SampleError:
        if sample_id == "absent":
            return SampleError(FailureKind.SCORE_FAILED, "no scores")
        scores = np.full(count, np.nan if sample_id == "bad" else 0.5, np.float32)
        return FrameScores(scores=scores, windows=2, scorer="counting")


def test_all_questions_of_a_video_are_scored_in_one_call() -> None:
    scorer = CountingScorer()
    rows = [(i, a_question(name)) for i, name in enumerate(("a", "bad", "absent", "c"))]
    watch = Stopwatch()
    results = list(samples_of(rows, some_candidates(), scorer, build_settings(), stopwatch=watch))
    assert watch.seconds["model"] > 0 < watch.seconds["encode"]
    assert watch.seconds["decode"] == watch.seconds["write"] == 0
    assert scorer.calls == 1
    assert [type(result) for result in results] == [Sample, Failure, Failure, Sample]
    failures = [result for result in results if isinstance(result, Failure)]
    assert [(failure.row, failure.sample_id, failure.stage) for failure in failures] == [
        (1, "bad", "sample"),
        (2, "absent", "score"),
    ]
    assert isinstance(results[0], Sample)
    assert (results[0].meta.scorer, results[0].meta.query_windows) == ("counting", 2)


def test_a_video_that_fails_gives_one_row_for_each_of_its_questions() -> None:
    rows = [(4, a_question("a")), (7, a_question("b"))]
    error = SampleError(FailureKind.NO_MOOV, "cut off")
    decoded = list(samples_of(rows, error, CountingScorer(), build_settings()))
    scored = list(samples_of(rows, some_candidates(3), CountingScorer(), build_settings()))
    for results, stage, kind in ((decoded, "decode", "no_moov"), (scored, "score", "score_failed")):
        assert [(f.row, f.stage, f.kind) for f in results if isinstance(f, Failure)] == [
            (4, stage, kind),
            (7, stage, kind),
        ]
