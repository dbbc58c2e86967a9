"""Options and answers as data sets write them, each rule by hand."""

from __future__ import annotations

import pytest

from strive_data.choices import options_by_letter, read_choices
from strive_data.errors import SampleError
from strive_data.recipes import Rules

LABELS = {"options": "choices", "solution": "answer_id"}


def read(rules, **layout):
    read_choices(layout, Rules(**rules), LABELS)
    return layout


def refused(rules, **layout):
    with pytest.raises(SampleError) as caught:
        read(rules, **layout)
    return caught.value.message


@pytest.mark.parametrize(
    ("options", "lettered"),
    [
        (["red", "blue"], ["A. red", "B. blue"]),
        (["A. red", "B. blue"], ["A. red", "B. blue"]),
        (["(A) red", "(B) blue"], ["(A) red", "(B) blue"]),
        # Not letters of their own: the second should be B, the third has none.
        (["A. Smith", "C. Jones"], ["A. A. Smith", "B. C. Jones"]),
        (["A. red", "blue"], ["A. A. red", "B. blue"]),
        (["A. red", 5], ["A. red", 5]),
        ("red", "red"),
    ],
)
def test_letters_are_added_where_they_are_not_there(options, lettered):
    assert read({"options": "any"}, options=options)["options"] == lettered


def test_more_options_than_letters():
    assert refused({"options": "any"}, options=["x"] * 27).startswith("choices: got 27 options")


@pytest.mark.parametrize("index", [2, "2", " 2 "])
def test_an_index_counts_from_zero(index):
    layout = read({"options": "any", "answer": "index"}, options=["x", "y", "z"], solution=index)
    assert layout["solution"] == "C"


@pytest.mark.parametrize("index", [3, -1, "3", "-1", "B", "", None, True, 1.0, "²", "9" * 5000])
def test_an_index_that_is_none(index):
    message = refused({"options": "any", "answer": "index"}, options=["x", "y", "z"], solution=index)
    assert message.startswith("answer_id: got ")
    assert message.endswith("expected the number of an option, 0 to 2")


@pytest.mark.parametrize("answer", ["B", "(B)", "blue", "B. blue", " blue "])
def test_an_option_by_its_letter_or_text(answer):
    layout = read({"answer": "option"}, options=["A. red", "B. blue"], solution=answer)
    assert layout["solution"] == "B"


def test_an_answer_that_is_no_option_is_left_for_the_check():
    assert read({"answer": "option"}, options=["A. red", "B. blue"], solution="green")["solution"] == "green"
    assert read({"answer": "option"}, options=["A. red", "B. blue"], solution=None)["solution"] is None


def test_a_text_that_is_another_option_s_letter_is_ambiguous():
    message = refused({"answer": "option"}, options=["A. B", "B. A"], solution="A")
    assert message == "answer_id: got 'A', which names the options A, B"
    twice = refused({"answer": "option"}, options=["A. red", "B. red"], solution="red")
    assert "which names the options A, B" in twice


def test_options_at_the_end_of_the_question():
    question = "Which way?\nA. Note this.\nThen say:\nA. left\n B. right"
    layout = read({"options": "in question", "answer": "option"}, problem=question, solution="B. right")
    assert layout == {
        "problem": "Which way?\nA. Note this.\nThen say:",
        "options": ["A. left", "B. right"],
        "solution": "B",
    }
    assert read({"options": "in question"}, problem="Which way?")["options"] == []
    assert read({"options": "in question"}, problem=5) == {"problem": 5}


def test_options_by_letter():
    assert options_by_letter({"A": "red ", "B": "blue", "C": ""}, "choices") == ["A. red", "B. blue"]


@pytest.mark.parametrize("options", [{"AB": "x"}, {"a": "x"}, {"": "x"}, {"A": 5}, {"A": None}])
def test_options_by_something_else(options):
    with pytest.raises(SampleError, match=r"choices: got .* expected a letter and a text"):
        options_by_letter(options, "choices")
