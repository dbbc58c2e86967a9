from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.schema import ProblemType
from strive_rl.benchmarks.custom import CUSTOM, custom_score
from strive_rl.benchmarks.items import read_items
from tests.strive_rl.benchmarks.made_items import choice_item, item


@pytest.mark.parametrize(
    ("kind", "truth", "output", "value"),
    [
        ("numerical", "5", "There are 5 dogs.", 1),
        ("numerical", "5", "5 or 6", 0),
        ("regression", "10", "9", 0.9),
        ("OCR", "EXIT NOW", "<answer>EXIT</answer>", 0.5),
        ("free-form", "a red ball", "a red ball", 1),
        ("free-form", "a red ball", "", 0),
    ],
)
def test_each_type_as_the_reward_scores_it(kind: ProblemType, truth: str, output: str, value: float) -> None:
    assert custom_score(output, item(truth, kind)).value == pytest.approx(value)


def test_choices_are_read_as_everywhere() -> None:
    assert custom_score("The answer is B because", choice_item("B")).value == 1


def test_an_annotation_of_the_users_own_is_read(shared_data: Path) -> None:
    items = read_items([shared_data / "questions.jsonl"], CUSTOM)
    assert len(items.items) == 26
    assert len({one.tags.get("question type") for one in items.items}) > 1
