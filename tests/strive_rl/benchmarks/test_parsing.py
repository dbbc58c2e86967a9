"""Where the answer of an output is, and the one number that it gives."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_rl.benchmarks.parsing import choice, final_text, one_number

FRUIT = ("A. apples", "B. candles", "C. berries", "D. A man walking")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("<think>A?</think><answer> B </answer>", "B"),
        ("<answer>A</answer> no, <answer>C</answer>", "C"),
        ("<think>x</think><answer>B", "B"),
        ("<think>so A</think>\nB", "B"),
        ("<think>the answer is A", ""),
        ("B</s>", "B"),
        (" B<|im_end|>\n", "B"),
        ("<answer></answer>", ""),
        ("<answer>A</answer><answer></answer>", ""),
    ],
)
def test_where_the_final_answer_stands(output: str, text: str) -> None:
    assert final_text(output) == text


@given(st.text(alphabet=" \n\t\"'`*_$()[]{}<>.,:;!?“”【】\\/|-", max_size=40))
def test_signs_alone_are_no_answer(output: str) -> None:
    assert choice(output, FRUIT) is None
    assert one_number(output) is None


@pytest.mark.parametrize(
    ("output", "value"),
    [
        *(("3.5 meters", "3.5"), ("4", "4"), ("about 4", "4"), ("The answer is 4.", "4"), ("1,200", "1200")),
        *(
            ("3.2m", "3.2"),
            ("-2", "-2"),
            ("$\\boxed{4}$", "4"),
            ("12.5%", "0.125"),
            ("4 chairs (I count 4)", "4"),
        ),
        ("There are 3 chairs and 2 tables. The answer is 5", "5"),
        ("<think>2 or 3</think><answer>3</answer>", "3"),
        *(
            ("−5 m/s", "-5"),
            ("minus 5", "-5"),
            ("-$5", "-5"),
            ("- 5", "-5"),
            ("Answer - 5", None),
            ("<5", None),
        ),
        *(("10³", "1000"), ("10**3", "1000"), ("10<sup>3</sup>", "1000"), (r"12\%", "0.12"), ("5k", "5000")),
        *(
            ("3.5 meters (11 feet)", "3.5"),
            ("4 (2 at the table and 2 outside)", "4"),
            ("5 million", "5000000"),
        ),
        *(
            ("V = 3 + 5.4 = 8.4", "8.4"),
            ("So x = 3 or x = 4", None),
            ("The answer is 4 or 5. So 3 ran.", None),
        ),
        ("V1 = 3. V2 = 5. Therefore, the final value is 8.4 V.", "8.4"),
        *(
            ("4 or 5", None),
            ("3-4", None),
            ("two", None),
            ("", None),
            ("1 2", None),
            ("10,5", None),
            ("v1.2.3", None),
        ),
    ],
)
def test_the_one_number_of_an_output(output: str, value: str | None) -> None:
    assert one_number(output) == (None if value is None else Fraction(value))
