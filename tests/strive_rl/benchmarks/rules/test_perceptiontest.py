from __future__ import annotations

import json
from pathlib import Path

from strive_rl.benchmarks.items import read_items
from strive_rl.benchmarks.rules.perceptiontest import PERCEPTIONTEST
from strive_rl.benchmarks.scoring import scored


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
    assert items.items[0].tags == {"area": "physics", "reasoning": "descriptive", "tag": "motion, object"}
    values = [scored(PERCEPTIONTEST, items.items[0], o).values["official"] for o in ("B", "a ball", "A", "1")]
    assert values == [1, 1, 0, 0]
    assert [row.tags["area"] for row in items.unusable] == ["physics"]


def test_it_says_that_its_training_videos_are_trained_on() -> None:
    assert any("Video-R1's training data" in note for note in PERCEPTIONTEST.notes)
    assert PERCEPTIONTEST.published == 19140
