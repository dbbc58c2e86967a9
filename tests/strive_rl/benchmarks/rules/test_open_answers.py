from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from strive_data.schema import ProblemType
from strive_rl.algorithm.reward import reward_of
from strive_rl.benchmarks.items import find_annotations, read_items
from strive_rl.benchmarks.rules.open_answers import (
    CUSTOM,
    MMVU,
    MMVU_DISCIPLINE_OF,
    TRACKS,
    VIDEOMMMU,
    VIDEOMMMU_DISCIPLINE_OF,
    custom_score,
    marked_letter,
    videommmu_score,
)
from strive_rl.benchmarks.scoring import scored
from strive_rl.benchmarks.verdicts import letter_or_open
from tests.strive_rl.benchmarks.made_items import choice_item, item


def test_all_published_questions_of_mmvu_are_read(shared_data: Path) -> None:
    items = read_items([shared_data / "benchmarks" / "mmvu" / "validation.json"], MMVU)
    kinds = Counter(one.tags["question type"] for one in items.items)
    assert (items.rows, len(items.unusable), MMVU.published) == (1000, 0, 1000)
    assert kinds == {"multiple-choice": 625, "open-ended": 375}
    assert {one.tags["subject"] for one in items.items} == set(MMVU_DISCIPLINE_OF)
    assert Counter(one.tags["discipline"] for one in items.items)["Engineering"] == 348


def test_video_r1s_file_has_the_choices_and_the_same_subjects(shared_data: Path) -> None:
    items = read_items([shared_data / "benchmarks" / "video_r1_layout" / "mmvu-mc.json"], MMVU).items
    assert len(items) == 625
    assert {one.tags["subject"] for one in items} == set(MMVU_DISCIPLINE_OF)


def test_letters_by_rule_and_open_answers_where_the_rule_is_sure() -> None:
    assert letter_or_open("B", choice_item("B")).value == 1
    assert letter_or_open("", choice_item("B")).value == 0
    assert letter_or_open("Salt", item("salt")).value == 1
    assert letter_or_open("brine", item("salt")).value is None


def test_open_questions_are_asked_for_a_short_answer() -> None:
    assert MMVU.form(choice_item("B")) == ""
    assert "few words" in MMVU.form(item("salt"))


def test_all_published_questions_of_videommmu_are_read(shared_data: Path) -> None:
    items = read_items([shared_data / "benchmarks" / "video_r1_layout" / "videommmu.json"], VIDEOMMMU)
    assert items.rows == len(items.items) == VIDEOMMMU.published == 900
    assert Counter(one.tags["track"] for one in items.items) == {
        "Adaptation": 300,
        "Comprehension": 300,
        "Perception": 300,
    }
    assert {one.tags["subject"].replace(" ", "_") for one in items.items} <= set(VIDEOMMMU_DISCIPLINE_OF)
    open_tracks = {one.tags["track"] for one in items.items if one.tags["question type"] == "open"}
    assert open_tracks == {"Adaptation"}


def test_the_track_of_the_authors_files_is_their_folder() -> None:
    row = {"id": "validation_Art_Theory_3", "options": ["a", "b"]}
    assert VIDEOMMMU.tags(row, Path("Perception/test.parquet")) == {
        "track": "Perception",
        "discipline": "Art",
        "subject": "Art Theory",
        "question type": "multiple choice",
    }


def test_letters_and_numbers_by_rule() -> None:
    assert letter_or_open("(B)", choice_item("B")).value == 1
    assert letter_or_open("The answer is 3.43 V", item("3.429", "numerical")).value == 1
    assert letter_or_open("3.5", item("3.429", "numerical")).value == 0


def test_the_tracks_are_asked_in_other_words() -> None:
    forms = [VIDEOMMMU.form(choice_item("B", track=track)) for track in ("Perception", "Adaptation")]
    assert "leave it aside" in forms[0]
    assert "Apply what the video teaches" in forms[1]
    assert all(form.endswith("the letter of one option and nothing else.") for form in forms)
    assert VIDEOMMMU.form(item("0.5", track="Adaptation")).endswith("or a few words, and nothing else.")


def test_the_authors_own_files_are_read(shared_data: Path) -> None:
    found = find_annotations(VIDEOMMMU, shared_data / "benchmarks" / "videommmu")
    items = read_items(found, VIDEOMMMU)
    assert (len(items.items), items.unusable) == (900, ())
    assert Counter(one.tags["track"] for one in items.items) == dict.fromkeys(TRACKS, 300)
    assert items.items[0].question.sample_id == "Perception-dev_Biology_3"
    assert sum(one.tags["question type"] == "open" for one in items.items) == 20


OPTIONS = ("A. red", "B. green", "C. blue", "D. a dark grey")


@pytest.mark.parametrize(
    ("output", "letter"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("A. is wrong. The answer is B.", "A"),  # the last full stop is stripped: only "A." is marked
        ("C: no. B: yes", "B"),
        ("A. red or (B)", "A"),  # a full stop decides before brackets
        ("I think A and then B are right", "B"),
        ("it may well be a dark grey one", "D"),
        ("green", None),
        ("what is seen there is green", "B"),
        ("unknown", None),
    ],
)
def test_official_is_the_last_marked_letter(output: str, letter: str | None) -> None:
    assert marked_letter(output, OPTIONS) == letter


@pytest.mark.parametrize(
    ("output", "truth", "value"),
    [
        ("V = 3 + 2 = 8.4", "8.4", 1),
        ("First 3.\nTherefore, the final value is 8.4 V", "8.4", 1),
        ("The value is 8.401", "8.4", 1),
        ("It is 1,234", "1234", 1),
        ("It is 9", "8.4", 0),
        ("the answer is brine and salt", "salt", 1),
        ("It is x", "x", 1),
        ("It is wax", "x", 0),  # a single letter must be beside a space
        ("pepper", "salt", 0),
    ],
)
def test_official_compares_every_conclusion_of_an_open_answer(output: str, truth: str, value: float) -> None:
    assert videommmu_score(output, item(truth)).value == value


@pytest.mark.parametrize("output", ["", "API Error"])
def test_official_leaves_out_empty_outputs_and_failed_calls(output: str) -> None:
    for one in (choice_item("B"), item("0.5")):
        row = scored(VIDEOMMMU, one, output)
        assert row.left_out == ("official",)
        assert not row.values["robust"]


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


@pytest.mark.parametrize(
    "output",
    [
        "<think>x</think><answer>B</answer>",
        "<think>x</think><answer>B",
        "<answer>B",
        "x</think><answer>A</answer><answer>B",
        "<think><answer>B",
        "<answer></answer>",
    ],
)
def test_a_tagged_output_has_the_rewards_accuracy(output: str) -> None:
    """`score` and an evaluation on shards agree; an answer that was cut off is none."""
    wanted = reward_of(output, choice_item("B").question).accuracy
    assert wanted == ("B</answer>" in output)
    assert custom_score(output, choice_item("B")).value == wanted
    number = output.replace("A<", "1<").replace("B", "12")
    assert custom_score(number, item("12", "numerical")).value == wanted


def test_choices_are_read_as_everywhere() -> None:
    assert custom_score("The answer is B because", choice_item("B")).value == 1


def test_an_annotation_of_the_users_own_is_read(shared_data: Path) -> None:
    items = read_items([shared_data / "questions.jsonl"], CUSTOM)
    assert len(items.items) == 26
    assert len({one.tags.get("question type") for one in items.items}) > 1
