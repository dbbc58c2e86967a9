"""Numbers by hand, those that are none, and any text at all."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.annotations.choices import doubt_of
from strive_data.annotations.numbers import count_text, find_numbers, parse_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        (" -3.50 ", Fraction(-7, 2)),
        ("+.5", Fraction(1, 2)),
        ("5.", 5),
        ("1,234,567.8", Fraction(12345678, 10)),
        ("\N{MINUS SIGN}2", -2),
        ("50%", Fraction(1, 2)),
        ("12.5 %", Fraction(1, 8)),
        ("3/4", Fraction(3, 4)),
        ("-1 / 3", Fraction(-1, 3)),
        ("2e3", 2000),
        ("1E-2", Fraction(1, 100)),
        ("1e299", 10**299),
        *[
            (text, -5)
            for text in (
                "−5",
                "–5",
                "- 5",
                "minus 5",
                "Negative 5",
                "-$5",
                "$-5",
                "负5",
                "\uff0d5",
                "{-}5",
                "-~5",
                "\u27965",
            )
        ],
        *[
            (text, 1000)
            for text in ("10³", "10^3", "10^{3}", "10**3", "1 × 10^3", r"1\times 10^{3}", "1x10³", "1k")
        ],
        *[
            (text, Fraction(1, 2))
            for text in ("50 percent", "50 per cent", r"50\%", "½", r"\frac{1}{2}", "２/４")
        ],
        *[(text, 5_000_000) for text in ("5 million", "5 mln", "$5m", "$5M", "500万")],
        *[(text, Fraction(3, 2)) for text in ("1½", "1 1/2", r"1\frac{1}{2}")],
        ("10⁻²", Fraction(1, 100)),
        ("５", 5),
        ("2 dozen", 24),
    ],
)
def test_numbers(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "-", "%", "e5", "nan", "inf", "-inf", "1/0", "0/0", "9" * 65,
        "1e999", "1e-999", "1e9999", "1e999999999", "0^-1",
        "99^999", "300K", "5M", "--$5", "2^0.5", "√2", "±5", "1_000", "0x10",
        "1,23", "1,2345", "1 2", "3 or 4", "3 m", "three", "٣", "²", "--1", "1/2/3", "1/-2",
    ],
)  # fmt: skip
def test_no_numbers(text):
    assert parse_number(text) is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3.5 meters (11 feet)", [Fraction(7, 2)]),
        ("4 (2 at the table and 2 outside)", [4]),
        ("4 (or 5)", [4, 5]),
        ("−5 m/s", [-5]),
        ("x is - 5.", [-5]),
        ("10³ kg", [1000]),
        ("5 m²", [5]),
        ("9.8 m/s^2", [Fraction(49, 5)]),
        ("5 hundred people", [500]),
        ("H2O has 3 atoms", [3]),
        ("COVID-19, A-5, v_0", []),
        ("约5米", [5]),
        ("v_{0} = 5 m s^{-1}", [5]),
        ("2.5 × 10^{3} m", [2500]),
        ("A dog, 5 cats.", [5]),
        # what is denied or only names does not count
        ("not 5", []),
        ("There are not 3 but 4.", [4]),
        ("In frame 3 I see 8 people.", [8]),
        ("In each frame 3 people are seen.", [3]),
        ("At 0:15, there are 8 people.", [8]),
        ("9" * 5000, [None]),
    ],
)
def test_numbers_of_a_running_text(text, values):
    assert find_numbers(text) == values


@pytest.mark.parametrize(
    "text",
    [
        "- 5 m/s", "temperature - 5", "0x10", "1280x720",
        "±5", "√2", r"\sqrt{2}", "half of 10", "10 and a half",
        "5 degrees below zero", "1:30", "1.5.2", "10,5",
        "300K", "<5", "2π", "5/m", "百分之50", "5'11", "2^0.5", "零下5度", "5+ dogs", "at least 5", "up to 5",
        "-(5)", "−(5)", "--5", "- -5", "+-5", "5-", "5 + x", "5x", "2e", "1_000", "5 squared",
        "log 5", "sin(30)",
        "more than 5", "/5", r"\frac{a}{2}", r"\frac{1}{2}x", "％5", "5成", "零下 5 ℃",
        "5 below", "≠5", "1h30m", "5٫5",
    ],
)  # fmt: skip
def test_a_part_of_a_number_is_not_read_as_one(text):
    assert find_numbers(text)[0] is None


@given(st.one_of(st.text(), st.text(alphabet=".,/%+-e^k$()²09 \n"), st.floats().map(str)))
def test_total_on_any_text(text):
    for value in (parse_number(text), *find_numbers(text)):
        assert value is None or math.isfinite(float(value))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9))
def test_numbers_as_python_writes_them(value):
    assert parse_number(str(value)) == parse_number(f"{value:,f}") == Fraction(value)


OTHER = "two fifths|seven eighths|one tenth|one in ten|three lakh|2 crore|2 bn people|3 k|four score|2 gross"
MORE = "one zero zero|one two three|two twenty|5 feet six|2 squared|a dozen"


@pytest.mark.parametrize("answer", f"{OTHER}|{MORE}".split("|"))
def test_a_count_is_never_another_number(answer: str) -> None:
    assert count_text(answer) == ""


def test_counts_in_words_and_with_what_is_counted() -> None:
    counts = {
        "three": "3",
        "2 people": "2",
        "Twenty five red balls.": "25",
        "five times": "5",
        "two months": "2",
    }
    assert {answer: count_text(answer) for answer in counts} == counts


@pytest.mark.parametrize(
    ("question", "answer", "doubt"),
    [
        ("How many?", "2,5", "count"),
        ("How many?", "about 3", "count"),
        ("How many eggs?", "A dozen", "count"),
        ("So, how many eggs?", "maybe twenty", "count"),
        ("How many?", "someone's", ""),
        ("How many?", "a few", ""),
        ("Who wins?", "two people", ""),
        ("Which year?", "1999", "number"),
        ("Which? (A) POLICE (B) TAXI", "(B)", "letter"),
        ("Which vitamin?", "K", ""),
        ("Which colour? 1. red 2. blue", "2", "option"),
        ("Which colour? (1) red (2) blue", "(2)", "option"),
        ("Which colour?\n1) red\n2) blue", "2) blue", "option"),
        ("Which colour? 1: red, 2: blue", "2.", "option"),
        ("Which colour? 1. red 2. blue", "3", "number"),
        ("Which colour? 1. red 2. blue", "blue", ""),
        ("Is it 1.5 m or 2.5 m?", "2", "number"),
        ("What follows step 2. in the recipe?", "2", "number"),
        ("Which vitamin?", "b", ""),
    ],
)
def test_free_form_answers_that_may_be_meant_otherwise(question: str, answer: str, doubt: str) -> None:
    assert doubt_of(question, answer, "free-form") == doubt
    assert doubt_of(question, answer, "numerical") == (doubt if doubt == "option" else "")
    assert doubt_of(question, answer, "regression") == ""
