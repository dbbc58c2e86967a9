"""Accuracy by hand for each type of question, in answers as they are given: within tags."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.schema import PROBLEM_TYPES
from strive_rl.algorithm.reward import reward_of
from strive_rl.answers.accuracy import final_answer, has_form, mean_relative_accuracy
from strive_rl.answers.choice import read_choice
from tests.strive_data.made.samples import a_question

OPTIONS = ("A. A man is walking", "B. a dog", "C. Vitamin C", "D. the red car.")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>x</think><answer> B </answer>", "B"),
        ("<answer>A</answer> no, <answer>B</answer>", "B"),
        ("<answer>A <answer>B</answer>", "B"),
        ("<answer>A</answer></answer>", "A"),
        ("<answer>two\nlines</answer>", "two\nlines"),
        ("<answer></answer>", ""),
        ("<answer>A</answer> then <answer>B", None),
        ("</answer>B<answer>", None),
        ("B", None),
        ("", None),
        ("<think>so <answer>A</answer></think><answer>B</answer>", "B"),
        ("<think>so <answer>A</answer></think> done", None),
        ("<think>perhaps <answer>A</answer> or", None),
        ("so <answer>A</answer></think><answer>B</answer>", "B"),
        ("so <answer>A</answer></think>", None),
        ("<answer>A</answer><think>or <answer>B</answer>", "A"),
    ],
)
def test_last_answer(text, answer):
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "formed"),
    [
        ("<think>x</think><answer>B</answer>", True),
        ("\n<think>x\ny</think>\n\n<answer>B</answer>\n", True),
        ("<think></think><answer>B</answer>", False),
        ("<think>x</think><answer> </answer>", False),
        ("<think>x</think> so <answer>B</answer>", False),
        ("<think>\u200b</think><answer>B</answer>", False),
        ("<think>x</think><answer>\u200b</answer>", False),
        ("Well, <think>x</think><answer>B</answer>", False),
        ("<think>x</think><answer>B</answer> done", False),
        ("<answer>B</answer><think>x</think>", False),
        ("<think>x<answer>B</answer></think>", False),
        ("<think>x</think><answer>A</answer><answer>B</answer>", False),
        ("<think>x</think><think>y</think><answer>B</answer>", False),
        ("<answer>B</answer>", False),
        ("<think>\n\n</think>\n\n<think>x</think><answer>B</answer>", True),
        ("", False),
    ],
)
def test_form(text, formed):
    assert has_form(text) is formed


@pytest.mark.parametrize(
    ("text", "formed", "answer"),
    [
        ("B", True, 1),
        (" <answer>B</answer>\n", True, 1),
        ("<think>\n\n</think>\n\nB", True, 1),
        ("<think>x</think><answer>B</answer>", True, 1),
        ("", False, 0),
        ("<think>\nB", False, 0),
        ("<think></think>", False, 0),
        ("x</think>B", False, 1),
        ("<think>x</think></think>B", False, 1),
        ("B <answer>B</answer>", False, 1),
    ],
)
def test_form_and_answer_of_a_prompt_that_asks_for_no_reasoning(text, formed, answer):
    reward = reward_of(text, question("multiple choice", "B"), reason=False)
    assert (reward.format, reward.accuracy) == (formed, answer)


@given(st.one_of(st.text(), st.text(alphabet="ABD.():,%/+-e09 \n<>answerthik"), st.floats().map(str)))
def test_total_on_any_text(text):
    assert read_choice(text, OPTIONS) in (None, *"ABCD")
    assert final_answer(f"<answer>{text}</answer>") is not None or "<" in text
    assert has_form(text) in (True, False)


OPTIONS_ACCURACY = ("A. A man", "B. a dog", "C. a cat", "D. the red car")
TRUTHS = {
    "multiple choice": "D",
    "numerical": "2.5",
    "regression": "100",
    "OCR": "energy is",
    "free-form": "It stands up",
    "temporal grounding": "1 to 2.5",
}


def question(problem_type, answer=None):
    options = OPTIONS_ACCURACY if problem_type == "multiple choice" else ()
    return a_question(answer=answer or TRUTHS[problem_type], problem_type=problem_type, options=options)


def accuracy(answer, problem_type, truth=None):
    return reward_of(f"<answer>{answer}</answer>", question(problem_type, truth)).accuracy


@pytest.mark.parametrize("problem_type", PROBLEM_TYPES)
def test_right_answer_in_form_is_worth_exactly_one(problem_type):
    reward = reward_of(f"<think>x</think><answer>{TRUTHS[problem_type]}</answer>", question(problem_type))
    assert (reward.accuracy, reward.format, reward.total) == (1, 1, 1)


@pytest.mark.parametrize("problem_type", PROBLEM_TYPES)
@pytest.mark.parametrize(
    "text",
    [
        *("", "<answer></answer>", "<answer> \n</answer>", "<answer>", "</answer><answer>"),
        *("<ANSWER>B</ANSWER>", "<think><answer>B</answer></think>", "<answer>\u200b</answer>"),
        "<think>x<answer>B</answer>",
    ],
)
def test_empty_answers_are_never_right(problem_type, text):
    assert reward_of(text, question(problem_type)).total == 0


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        # Each read as right by a public evaluator.
        ("The answer is B because Alice did C first", "C"),
        ("A man walks by, so the answer is D", "A"),
        ("<think>C looks wrong</think><answer>D</answer>", "C"),
        ("<think>D</think>", "D"),
        ("<answer>D</answer> or rather <answer>B</answer>", "D"),
        ("<answer>The answer is B because Alice did C first</answer>", "C"),
        ("<answer>A man, so D</answer>", "A"),
        ("<answer>A B C D</answer>", "D"),
    ],
)
def test_known_misreadings_of_choices(text, truth):
    assert reward_of(text, question("multiple choice", truth)).accuracy == 0


def test_answer_that_is_part_of_the_truth_is_not_right():
    assert accuracy("2", "numerical", "12") == 0
    assert accuracy("energy", "OCR") == 0.5


def test_the_type_of_its_own_question_counts():
    text = "<answer>101</answer>"
    ours = [
        reward_of(text, question(problem_type, "100")).accuracy
        for problem_type in ("regression", "numerical")
    ]
    assert ours == [1, 0]


@pytest.mark.parametrize(
    ("answer", "truth", "right"),
    [
        ("2.50", "2.5", 1),
        ("2.504", "2.5", 1),
        ("2.51", "2.5", 0),
        ("1,000", "1000", 1),
        ("50%", "0.5", 1),
        ("50%", "50", 0),
        ("1/3", "0.33", 1),
        ("-0.001", "0", 1),
        ("-2", "2", 0),
        ("nan", "2", 0),
        ("1e999", "2", 0),
        ("1/0", "2", 0),
        ("٢", "2", 0),
        ("2 or 3", "2", 0),
    ],
)
def test_numerical(answer, truth, right):
    assert accuracy(answer, "numerical", truth) == right


@pytest.mark.parametrize(
    ("answer", "share"),
    # Relative errors 0, .05, .1, .101, .5, .5, .51 pass 10, 10, 9, 8, 1, 1 and 0 of the ten thresholds.
    [
        ("100", 1),
        ("105", 1),
        ("90", 0.9),
        ("110.1", 0.8),
        ("50", 0.1),
        ("150", 0.1),
        ("151", 0),
        ("1e999", 0),
    ],
)
def test_regression(answer, share):
    assert accuracy(answer, "regression") == share


def test_mean_relative_accuracy_at_zero_and_below():
    assert mean_relative_accuracy(Fraction(0), Fraction(0)) == 1
    assert mean_relative_accuracy(Fraction(1, 100), Fraction(0)) == 0
    assert mean_relative_accuracy(Fraction(-90), Fraction(-100)) == 0.9
    # The exact edge that floating point misses: 1 − .9 < .1.
    assert 10 / 100 > 1 - 0.9


def test_ocr_counts_words_and_case():
    assert accuracy("energy is", "OCR") == 1
    assert accuracy("Energy is", "OCR") == 0.5
    assert accuracy("a b c d e", "OCR") == 0


def test_free_form_is_the_mean_of_three():
    # it stands / it stands up: 4/5, 2/3, 4/5
    assert accuracy("it stands", "free-form") == pytest.approx((4 / 5 + 2 / 3 + 4 / 5) / 3)


PIECES = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "D",
    "2.5",
    "energy",
    " ",
    "1/0",
    "nan",
    "-",
    "%",
    "٣",
]


@given(
    st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join)),
    st.sampled_from(PROBLEM_TYPES),
    st.booleans(),
)
def test_any_text_gives_a_finite_reward_in_range(text, problem_type, wrapped):
    reward = reward_of(f"<answer>{text}</answer>" if wrapped else text, question(problem_type))
    for part in (reward.accuracy, reward.format, reward.total):
        assert math.isfinite(part)
        assert 0 <= part <= 1


@pytest.mark.parametrize(
    ("problem_type", "truth"),
    [("multiple choice", "E"), ("numerical", "two"), ("regression", "nan"), ("OCR", " ")],
)
def test_a_question_with_an_unreadable_truth_is_an_error_not_a_zero(problem_type, truth):
    with pytest.raises(ValueError, match="question 1: "):
        reward_of("<answer>1</answer>", question(problem_type, truth))


def rated(shared_data: Path, task: str) -> list[dict[str, Any]]:
    """Published outputs of Video-LLaVA on TempCompass, as rated by its authors' rules."""
    file = shared_data / "benchmarks" / "tempcompass" / f"video-llava.{task}.rated.json"
    videos = json.loads(file.read_text())
    rows = [row for dimensions in videos.values() for rows in dimensions.values() for row in rows]
    return [row for row in rows if row["match_success"]]


def choice(row: dict[str, Any], options: tuple[str, ...]) -> float:
    asked = a_question(question=row["question"], answer=row["gt-answer"], options=options)
    return reward_of(f"<answer>{row['video-llm-prediction']}</answer>", asked).accuracy


def test_real_choices_are_read_as_their_raters_read_them(shared_data):
    rows = rated(shared_data, "multi-choice")
    ours = [choice(row, tuple(row["question"].split("\n")[1:])) for row in rows]
    assert len(rows) == 1580
    assert ours == [row["rating"] for row in rows]


def test_real_yes_and_no_are_read(shared_data):
    rows = rated(shared_data, "yes_no")
    assert len(rows) == 2453
    assert [choice(row, ("A. yes", "B. no")) for row in rows] == [row["rating"] for row in rows]


def test_choices_that_the_published_rule_cannot_decide(shared_data):
    """Gemini's, as a language model rated them; one of its ratings contradicts the answer."""
    file = shared_data / "benchmarks" / "tempcompass_gemini" / "rated" / "multi-choice.json"
    videos = json.loads(file.read_text()).values()
    rows = [row for dimensions in videos for rows in dimensions.values() for row in rows]
    undecided = [row for row in rows if not row["match_success"] and row["video-llm-prediction"]]
    ours = [choice(row, tuple(row["question"].split("\n")[1:])) for row in undecided]
    differ = [
        mine - row["rating"] for row, mine in zip(undecided, ours, strict=True) if mine != row["rating"]
    ]
    assert (len(undecided), differ) == (110, [-1])
