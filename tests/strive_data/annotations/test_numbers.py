"""Numbers by hand, those that are none, and any text at all."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.annotations.numbers import parse_number


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
        ("1e999", 10**999),
    ],
)
def test_numbers(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "-", "%", "e5", "nan", "inf", "-inf", "1/0", "0/0", "9" * 65,
        "1e9999", "1e999999999", "1_000", "0x10",
        "1,23", "1,2345", "1 2", "3 or 4", "3 m", "three", "٣", "²", "½", "３", "--1", "1/2/3", "1/-2",
    ],
)  # fmt: skip
def test_no_numbers(text):
    assert parse_number(text) is None


@given(st.one_of(st.text(), st.text(alphabet=".,/%+-e09 \n"), st.floats().map(str)))
def test_total_on_any_text(text):
    assert parse_number(text) is None or isinstance(parse_number(text), Fraction)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9))
def test_numbers_as_python_writes_them(value):
    assert parse_number(str(value)) == parse_number(f"{value:,f}") == Fraction(value)
