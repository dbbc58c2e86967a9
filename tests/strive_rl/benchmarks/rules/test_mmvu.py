from __future__ import annotations

from collections import Counter
from pathlib import Path

from strive_rl.benchmarks.items import read_items
from strive_rl.benchmarks.open_answer import letter_or_open
from strive_rl.benchmarks.rules.mmvu import DISCIPLINE_OF, MMVU
from tests.strive_rl.benchmarks.made_items import choice_item, item


def test_all_published_questions_are_read(shared_data: Path) -> None:
    items = read_items([shared_data / "benchmarks" / "mmvu" / "validation.json"], MMVU)
    kinds = Counter(one.tags["question type"] for one in items.items)
    assert (items.rows, len(items.unusable), MMVU.published) == (1000, 0, 1000)
    assert kinds == {"multiple-choice": 625, "open-ended": 375}
    assert {one.tags["subject"] for one in items.items} == set(DISCIPLINE_OF)
    assert Counter(one.tags["discipline"] for one in items.items)["Engineering"] == 348


def test_video_r1s_file_has_the_choices_and_the_same_subjects(shared_data: Path) -> None:
    items = read_items([shared_data / "benchmarks" / "video_r1_layout" / "mmvu-mc.json"], MMVU).items
    assert len(items) == 625
    assert {one.tags["subject"] for one in items} == set(DISCIPLINE_OF)


def test_letters_by_rule_and_open_answers_where_the_rule_is_sure() -> None:
    assert letter_or_open("B", choice_item("B")).value == 1
    assert letter_or_open("", choice_item("B")).value == 0
    assert letter_or_open("Salt", item("salt")).value == 1
    assert letter_or_open("brine", item("salt")).value is None


def test_open_questions_are_asked_for_a_short_answer() -> None:
    assert MMVU.form(choice_item("B")) == ""
    assert "few words" in MMVU.form(item("salt"))
