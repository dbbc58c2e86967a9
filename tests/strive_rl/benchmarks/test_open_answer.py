from __future__ import annotations

import pytest

from strive_rl.benchmarks.item import Verdict
from strive_rl.benchmarks.open_answer import accepted, choice_verdict, normalised, open_verdict, stated
from tests.strive_rl.benchmarks.made_items import choice_item, item


def test_the_right_letter_another_one_and_none() -> None:
    item = choice_item("B")
    assert choice_verdict("The answer is B", item) == Verdict(value=1.0, extracted="B")
    assert choice_verdict("C", item) == Verdict(value=0.0, extracted="C")
    assert choice_verdict("A or B", item) == Verdict(value=0.0, extracted=None)


@pytest.mark.parametrize(
    ("output", "truth", "value"),
    [
        ("Dolly zoom", "Dolly Zoom", 1),
        ("The answer is: the dolly zoom.", "Dolly Zoom", 1),
        ("Therefore, the final answer is: Answer: depth-first search", "Depth-First Search (DFS)", 1),
        ("DFS", "Depth-First Search (DFS)", 1),
        ("O(n²)", "O(n^2)", None),
        ("a vertigo shot", "Dolly Zoom", None),
        ("", "Dolly Zoom", 0),
        ("the", "Dolly Zoom", 0),
        ("<answer></answer>", "salt", 0),
        ("al", "salt", None),
        ("salt, sugar, sand, silver", "salt", None),
        ("12.97", "12.97", 1),
        ("about 13", "12.97", 0),
        ("12.974 g", "12.97", 1),
        ("12 or 13", "12.97", None),
        ("4 dogs", "two", None),
    ],
)
def test_sure_is_the_whole_answer_or_no_answer_or_another_number(
    output: str, truth: str, value: float | None
) -> None:
    assert open_verdict(output, item(truth)).value == value


def test_stated_answers_end_with_their_line() -> None:
    assert stated("I see it.\nThe answer is: **salt**\nBye") == "salt"
    assert stated("just salt") == "just salt"


def test_normalising() -> None:
    assert normalised("  The “Faraday’s” Cage. ") == normalised("faraday s cage")
    assert accepted("triboelectric (static electricity)") == {
        "triboelectric (static electricity)",
        "triboelectric",
    }
