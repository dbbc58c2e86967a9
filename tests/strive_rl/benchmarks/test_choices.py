from __future__ import annotations

from strive_rl.benchmarks.choices import choice_verdict
from strive_rl.benchmarks.item import Verdict
from tests.strive_rl.benchmarks.made_items import choice_item


def test_the_right_letter_another_one_and_none() -> None:
    item = choice_item("B")
    assert choice_verdict("The answer is B", item) == Verdict(value=1.0, extracted="B")
    assert choice_verdict("C", item) == Verdict(value=0.0, extracted="C")
    assert choice_verdict("A or B", item) == Verdict(value=0.0, extracted=None)
