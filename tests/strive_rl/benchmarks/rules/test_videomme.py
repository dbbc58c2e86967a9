from __future__ import annotations

from collections import Counter
from pathlib import Path

from strive_rl.benchmarks.items import read_items
from strive_rl.benchmarks.rules.videomme import VIDEOMME


def test_all_published_questions_are_read(shared_data: Path) -> None:
    items = read_items([shared_data / "benchmarks" / "video_r1_layout" / "videomme.json"], VIDEOMME)
    assert items.rows == len(items.items) == VIDEOMME.published == 2700
    assert len({one.question.video for one in items.items}) == 900
    counted = {name: Counter(one.tags[name] for one in items.items) for name in VIDEOMME.breakdowns}
    assert counted["duration"] == {"short": 900, "medium": 900, "long": 900}
    assert counted["domain"]["Knowledge"] == 810
    assert (len(counted["task type"]), len(counted["sub-category"])) == (12, 30)
