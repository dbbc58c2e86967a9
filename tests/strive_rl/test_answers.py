"""Answers as models write them, and the misreadings that public scorers are known for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_rl.answers import final_answer, has_form, option_letter

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
        ("Well, <think>x</think><answer>B</answer>", False),
        ("<think>x</think><answer>B</answer> done", False),
        ("<answer>B</answer><think>x</think>", False),
        ("<think>x<answer>B</answer></think>", False),
        ("<think>x</think><answer>A</answer><answer>B</answer>", False),
        ("<think>x</think><think>y</think><answer>B</answer>", False),
        ("<answer>B</answer>", False),
        ("", False),
    ],
)
def test_form(text, formed):
    assert has_form(text) is formed


@pytest.mark.parametrize("answer", ["B", "B.", "(B)", "(B).", "B)", "B:", " B \n"])
def test_letter_alone(answer):
    assert option_letter(answer, OPTIONS) == "B"


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B) a dog", "B"),
        ("B. a dog", "B"),
        ("(B) A  Dog.", "B"),
        ("a dog", "B"),
        ("A dog", "B"),
        ("A man is walking", "A"),
        ("Vitamin C", "C"),
        ("C. Vitamin C", "C"),
        ("the red car", "D"),
        ("B. some animal", "B"),
    ],
)
def test_letter_with_text_and_text_alone(answer, letter):
    assert option_letter(answer, OPTIONS) == letter


@pytest.mark.parametrize(
    "answer",
    [
        "",
        ".",
        "()",
        "E",
        "b",
        "A or B",
        "A, B",
        "AB",
        "A. or B.",
        "A. B",
        "B. the red car",
        "B. a dog or the red car",
        "A man walks, so the answer is D",
        "The answer is B because Alice did C first",
        "dog",
        "a",
        "Β",  # Greek capital beta
    ],
)
def test_empty_ambiguous_and_loose_answers_name_nothing(answer):
    assert option_letter(answer, OPTIONS) is None


def test_options_of_equal_text_are_ambiguous_but_for_their_letter():
    options = ("A. yes", "B. Yes", "C. no")
    assert option_letter("yes", options) is None
    assert option_letter("B. Yes", options) == "B"


def test_letter_wins_over_an_option_that_reads_like_a_letter():
    assert option_letter("B", ("A. B", "B. A")) == "B"


def test_options_may_be_bare_letters():
    assert [option_letter(answer, ("A.", "B.")) for answer in ("B", "B.", "", ".")] == ["B", "B", None, None]


def test_other_option_inside_a_longer_word_does_not_count():
    assert option_letter("B. catalogue", ("A. cat", "B. a book")) == "B"


@given(st.one_of(st.text(), st.text(alphabet="ABD.():,%/+-e09 \n<>answerthik"), st.floats().map(str)))
def test_total_on_any_text(text):
    assert option_letter(text, OPTIONS) in (None, *"ABCD")
    assert final_answer(f"<answer>{text}</answer>") is not None or "<answer>" in text
    assert has_form(text) in (True, False)
