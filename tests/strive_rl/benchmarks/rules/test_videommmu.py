from __future__ import annotations

from collections import Counter
from pathlib import Path

from strive_rl.benchmarks.items import read_items
from strive_rl.benchmarks.open_answer import letter_or_open
from strive_rl.benchmarks.rules.videommmu import DISCIPLINE_OF, VIDEOMMMU
from tests.strive_rl.benchmarks.made_items import choice_item, item


def test_all_published_questions_are_read(shared_data: Path) -> None:
    items = read_items([shared_data / "benchmarks" / "video_r1_layout" / "videommmu.json"], VIDEOMMMU)
    assert items.rows == len(items.items) == VIDEOMMMU.published == 900
    assert Counter(one.tags["track"] for one in items.items) == {
        "Adaptation": 300,
        "Comprehension": 300,
        "Perception": 300,
    }
    assert {one.tags["subject"].replace(" ", "_") for one in items.items} <= set(DISCIPLINE_OF)
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
