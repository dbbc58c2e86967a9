from __future__ import annotations

import pytest

from strive_data.schema import PROBLEM_TYPES, Question
from strive_rl.prompt import ANSWER_FORM, DIRECT, THINK, user_text
from strive_rl.schema import Wording


def question(problem_type, options=()):
    return Question(
        sample_id="1",
        video="v.mp4",
        question="  Which fruit? ",
        answer="SECRET",
        problem_type=problem_type,
        options=options,
        evidence_spans=((12.5, 13.5),),
    )


def test_options_stand_one_a_line_between_question_and_instruction():
    lines = user_text(question("multiple choice", ("A. apple", "B. pear"))).split("\n")
    assert lines == ["Which fruit?", "A. apple", "B. pear", THINK, ANSWER_FORM["multiple choice"]]


@pytest.mark.parametrize("problem_type", PROBLEM_TYPES)
def test_every_type_has_its_line_and_no_text_gives_the_answer_away(problem_type):
    text = user_text(question(problem_type))
    assert text.endswith(ANSWER_FORM[problem_type])
    for tag in ("<think>", "</think>", "<answer>", "</answer>"):
        assert text.count(tag) == 1
    assert "SECRET" not in text
    assert "12.5" not in text


def test_a_wording_asks_at_once_or_for_another_form():
    asked = question("free-form")
    assert user_text(asked, Wording(reason=False)).split("\n") == [
        "Which fruit?",
        DIRECT,
        ANSWER_FORM["free-form"],
    ]
    assert user_text(asked, Wording(form="Say yes or no.")).split("\n") == [
        "Which fruit?",
        THINK,
        "Say yes or no.",
    ]
    assert user_text(asked, Wording()) == user_text(asked)
