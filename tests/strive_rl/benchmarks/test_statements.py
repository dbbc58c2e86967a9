from __future__ import annotations

import pytest

from strive_rl.benchmarks.statements import named_letter, statements

ABCD = frozenset("ABCD")


def named(text: str) -> list[str]:
    return [said.letter for said in statements(text, ABCD) if said.letter]


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("The answer is B. The correct option is C.", ["B", "C"]),
        ("the answer is not B", []),
        ("This is not the answer: B", []),
        ("Whether B is correct is open", []),
        ("B is the most likely answer", ["B"]),
        ("nothing", []),
        ("answer: A or C", ["?"]),
    ],
)
def test_statements_in_their_order(text: str, letters: list[str]) -> None:
    assert named(text) == letters


def test_how_a_statement_is_made() -> None:
    first, last = statements("Option A looks fine. So the final answer: B", ABCD)
    assert (first.weak, first.final, first.spelled) == (True, False, False)
    assert (last.weak, last.final, last.spelled, last.letter) == (False, True, True, "B")


@pytest.mark.parametrize(
    ("rest", "letter"),
    [
        ("B", "B"),
        ("(B) since", "B"),
        ("B and C", "?"),
        ("B, and C is wrong", "B"),
        ("B and C are wrong", ""),
        ("B because A or C", "B"),
        ("A man", ""),
        ("B isn't", ""),
        ("B is wrong", ""),
        ("E", ""),
        ("Because", ""),
        ("B's hat", ""),
    ],
)
def test_the_letter_after_a_statement(rest: str, letter: str) -> None:
    assert named_letter(rest, ABCD) == letter
