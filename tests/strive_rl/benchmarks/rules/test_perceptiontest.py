from __future__ import annotations

import json
from pathlib import Path

from strive_rl.benchmarks.items import read_items
from strive_rl.benchmarks.rules.perceptiontest import PERCEPTIONTEST
from strive_rl.benchmarks.scoring import scored, summarise


def test_right_is_the_index_and_tags_are_the_authors(tmp_path: Path) -> None:
    row = {
        "video_name": "video_1",
        "question_id": 4,
        "question": "What moves?",
        "options": ["a cup", "a ball", "nothing"],
        "answer_id": 1,
        "area": "physics",
        "reasoning": "descriptive",
        "tag": ["motion", "object"],
    }
    file = tmp_path / "validation.json"
    file.write_text(json.dumps([row, row | {"question_id": 5, "answer_id": "7"}]))
    items = read_items([file], PERCEPTIONTEST)
    assert items.items[0].tags == {"area": "physics", "reasoning": "descriptive", "tag": "motion | object"}
    rows = [scored(PERCEPTIONTEST, items.items[0], output) for output in ("B", "a ball", "A", "1", "2")]
    assert [row.values["official"] for row in rows] == [1, 1, 0, 1, 0]
    assert [row.values["robust"] for row in rows] == [1, 1, 0, 0, 0]
    by = summarise(PERCEPTIONTEST, rows, missing="wrong", resamples=9, seed=0)["by"]["tag"]
    assert {tag: part["official"]["questions"] for tag, part in by.items()} == {"motion": 5, "object": 5}
    assert [row.tags["area"] for row in items.unusable] == ["physics"]


def test_it_says_that_its_training_videos_are_trained_on() -> None:
    assert any("Video-R1's training data" in note for note in PERCEPTIONTEST.notes)
    assert PERCEPTIONTEST.published == 19140
