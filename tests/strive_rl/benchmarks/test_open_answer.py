from __future__ import annotations

import pytest

from strive_rl.benchmarks.item import Verdict
from strive_rl.benchmarks.open_answer import accepted, choice_verdict, normalised, open_verdict, stated
from tests.strive_rl.benchmarks.made_items import choice_item, item

LOOK_ALIKE = [
    ("n!", "n"), ("A ∪ B", "A ∩ B"), ("C#", "C"), ("C++", "C"), ("√x", "x"), ("±a", "a"), ("n^2", "n2"),
    ("f(x)", "f"), ("mW", "MW"), ("A*", "A"), ("f'", "f"), ("[0, 1]", "0, 1"), ("x_1", "x1"), ("a<b", "a b"),
    ("≥ 5 m", "5 m"), ("an x", "x"), ("¬p", "p"), ("sin (x)", "sin"),
]  # fmt: skip


def test_the_right_letter_another_one_and_none() -> None:
    item = choice_item("B")
    assert choice_verdict("The answer is B", item) == Verdict(value=1.0, extracted="B")
    assert choice_verdict("C", item) == Verdict(value=0.0, extracted="C")
    assert choice_verdict("A or B", item) == Verdict(value=0.0, extracted=None)


@pytest.mark.parametrize(
    ("output", "truth"),
    [
        ("Dolly zoom", "Dolly Zoom"),
        ("The answer is: the dolly zoom.", "Dolly Zoom"),
        ("Therefore, the final answer is: Answer: depth-first search", "Depth-First Search (DFS)"),
        ("DFS", "Depth-First Search (DFS)"),
        ("A", "A"),
        ("The answer is A.", "A"),
        ("**hepatitis**", "Hepatitis"),
        (r"\boxed{\text{hepatitis}}", "hepatitis"),
        (r"The answer is $\boxed{\text{hepatitis}}$.", "hepatitis"),
        ("O(n²)", "O(n^2)"),
        ("C#", "C#"),
        ("n!", "n!"),
        ("12.97", "12.97"),
        ("12.974 g", "12.97"),
        ("V1 = 3.1. V2 = 5.3. Therefore, the final value is 8.4 V.", "8.4"),
        ("V = 3 + 5.4 = 8.4", "8.4"),
        ("First 3 is added to 2.\nSo we get 5.", "5"),
        ("The light bends.\nThus, the effect is refraction.", "refraction"),
        ("−5 m/s", "-5"),
    ],
)
def test_the_truth_itself_is_surely_right(output: str, truth: str) -> None:
    assert open_verdict(output, item(truth)).value == 1


@pytest.mark.parametrize(
    ("output", "truth"),
    [
        ("", "Dolly Zoom"),
        ("...", "Dolly Zoom"),
        ("<answer></answer>", "salt"),
        ("about 13", "12.97"),
        ("0.004", "0.001"),
        ("-5", "5"),
        ("- 5", "5"),
        ("10³", "103"),
    ],
)
def test_no_answer_and_another_number_are_surely_wrong(output: str, truth: str) -> None:
    assert open_verdict(output, item(truth)).value == 0


@pytest.mark.parametrize(
    ("output", "truth"),
    [
        ("a vertigo shot", "Dolly Zoom"),
        ("al", "salt"),
        ("salt, sugar, sand, silver", "salt"),
        ("the", "salt"),
        ("12 or 13", "12.97"),
        ("4 dogs", "two"),
        ("50%", "50"),
        ("5 million", "5"),
        ("√2", "2"),
        ("±5", "5"),
        ("n^2", "2"),
        ("<5", "5"),
        *LOOK_ALIKE,
        *[(truth, output) for output, truth in LOOK_ALIKE],
    ],
)
def test_what_differs_in_a_sign_or_a_word_is_never_surely_right(output: str, truth: str) -> None:
    assert open_verdict(output, item(truth)).value is None


def test_stated_answers_end_with_their_line() -> None:
    assert stated("I see it.\nThe answer is: **salt**\nBye") == "salt"
    assert stated("just salt") == "just salt"


def test_normalising() -> None:
    assert normalised("  The “Faraday’s” Cage. ") == normalised("faraday's cage") == "faraday's cage"
    explained = "triboelectric (static electricity)"
    assert accepted(explained) == {explained, "triboelectric"}
