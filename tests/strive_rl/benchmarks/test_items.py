from __future__ import annotations

import json
from pathlib import Path

from strive_rl.benchmarks.items import read_items, tags_of
from strive_rl.benchmarks.own import OWN
from strive_rl.benchmarks.tempcompass import TEMPCOMPASS


def test_tags_go_with_their_rows_and_bad_rows_are_kept_apart(tmp_path: Path) -> None:
    rows = [
        {"problem_id": i, "problem": "Q?", "problem_type": "free-form", "solution": answer, "path": "v.mp4"}
        | {"data_source": source}
        for i, (answer, source) in enumerate([("x", "one"), ("", "two"), ("y", "three")])
    ]
    file = tmp_path / "own.json"
    file.write_text(json.dumps(rows))
    items = read_items([file], OWN)
    assert [(one.question.sample_id, one.tags["source"]) for one in items.items] == [
        ("0", "one"),
        ("2", "three"),
    ]
    assert [(row.sample_id, row.video, row.tags["source"]) for row in items.unusable] == [
        ("1#row1", "v.mp4", "two")
    ]
    assert items.rows == 3


def test_a_breakdown_by_two_tags_is_their_product() -> None:
    tags = tags_of(TEMPCOMPASS, {"dimension": "speed"}, Path("yes_no.json"))
    assert tags == {"task": "yes_no", "dimension": "speed", "task × dimension": "yes_no × speed"}
    assert tags_of(TEMPCOMPASS, "no row", Path("yes_no.json")) == {}
