"""Which of several answers is elected, by the type of the question; never by its truth."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strive_data.schema import GROUNDING, ProblemType, Question
from strive_rl.answers.vote import elect
from strive_rl.benchmarks.verdicts import open_form
from tests.strive_data.made.samples import a_question

OPTIONS = ("A. a red cup", "B. a blue cup", "C. a green cup")
CHOICE: ProblemType = "multiple choice"


def asked(kind: ProblemType, options: tuple[str, ...] = ()) -> Question:
    return a_question(options=options, answer="A" if options else "1", problem_type=kind)


@pytest.mark.parametrize(
    ("kind", "answers", "logprobs", "index", "agreement"),
    [
        (CHOICE, ["A", "B", "The answer is B."], [], 1, 2 / 3),
        # Of the texts that say the same the likeliest stands for them.
        (CHOICE, ["A", "B", "a blue cup"], [-9.0, -2.0, -1.0], 2, 2 / 3),
        # Ties go to the more probable letter, without probabilities to the earlier one.
        (CHOICE, ["A", "B", "A", "B"], [-3.0, -0.1, -3.0, -2.0], 1, 0.5),
        (CHOICE, ["C", "B"], [], 0, 0.5),
        # What cannot be read is no vote, whatever its probability.
        (CHOICE, [None, "", "A or B", "C"], [0.0, 0.0, 0.0, -9.0], 3, 0.25),
        (CHOICE, [None, "", "A or B"], [-2.0, -1.0, -3.0], 1, 0.0),
        ("numerical", ["3", "2.001", "2"], [], 1, 2 / 3),
        ("numerical", ["9", "1", "4"], [], 2, 1 / 3),
        ("numerical", ["1", "1", "7", "7", "5"], [], 4, 1 / 5),
        ("regression", ["1", "2", "8", "9", None], [-1.0, -3.0, -2.0, -1.0, 0.0], 2, 1 / 5),
        ("regression", ["many", ""], [], 0, 0.0),
        ("free-form", ["a dog runs home now", "a dog runs", "a dog runs far"], [], 1, None),
        ("free-form", ["", "the cat"], [], 1, 0.5),
        # Spans: the one that overlaps most with the others, however they are written.
        (GROUNDING, ["0 to 1", "10 to 20", "[12, 20]", "00:11 - 00:20", "no idea"], [], 3, None),
        ("OCR", ["STOP here", "stop here", "STOP"], [], 0, None),
    ],
)
def test_elected_by_hand(
    kind: ProblemType, answers: list[str | None], logprobs: list[float], index: int, agreement: float | None
) -> None:
    election = elect(answers, asked(kind, OPTIONS if kind == CHOICE else ()), logprobs)
    assert election.index == index
    assert agreement is None or election.agreement == pytest.approx(agreement)


def test_open_answers_are_the_same_where_their_forms_are_equal() -> None:
    answers = ["a red cup", "The answer is the Blue cup.", "blue cup"]
    question = asked("free-form")
    assert elect(answers, question, form=open_form).index == 1
    # By words alone each is as like the others.
    assert elect(answers, question, form=open_form).agreement == pytest.approx(2 / 3)


TEXTS = st.lists(st.none() | st.sampled_from(["", "A", "B", "3", "3.5", "blue", "a blue cup"]), min_size=1)


@settings(max_examples=40)
@given(
    answers=TEXTS, kind=st.sampled_from([CHOICE, "numerical", "regression", "OCR", "free-form", GROUNDING])
)
def test_any_answers_elect_one_of_them_whatever_the_truth(
    answers: list[str | None], kind: ProblemType
) -> None:
    question = asked(kind, OPTIONS if kind == CHOICE else ())
    election = elect(answers, question)
    assert 0 <= election.index < len(answers)
    assert 0 <= election.agreement <= 1
    assert election == elect(answers, replace(question, answer="B. a blue cup" if kind == CHOICE else "77"))
    # Once more the same answers elect the same text.
    assert answers[elect([*answers, *answers], question).index] == answers[election.index]


def test_probabilities_belong_to_answers() -> None:
    with pytest.raises(ValueError, match="2 answers with 1 log-probabilities"):
        elect(["A", "B"], asked("numerical"), [0.0])
    with pytest.raises(ValueError, match="0 answers"):
        elect([], asked("numerical"))
