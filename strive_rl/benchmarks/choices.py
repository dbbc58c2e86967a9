"""The rule of all questions with options: the letter that the output settles on is that of the truth."""

from __future__ import annotations

from strive_rl.benchmarks.extract import choice
from strive_rl.benchmarks.item import Item, Verdict


def choice_verdict(output: str, item: Item) -> Verdict:
    """1 for the right letter, 0 for another one and for none that can be read."""
    letter = choice(output, item.question.options)
    return Verdict(value=float(letter == item.question.answer), extracted=letter)
