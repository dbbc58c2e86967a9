"""Charades-STA from its published lines to mIoU and R@IoU."""

from __future__ import annotations

from pathlib import Path

import pytest

from strive_rl.benchmarks.items import find_annotations, read_items
from strive_rl.benchmarks.rules.grounding import CHARADES_STA
from strive_rl.benchmarks.scoring import scored, summarise

LINES = "3MSZA 24.3 30.3##person turn a light on.\n3MSZA 0 10##they sit.\n"


def test_totals_by_hand(tmp_path: Path) -> None:
    (tmp_path / "charades_sta_test.txt").write_text(LINES)
    items = read_items(find_annotations(CHARADES_STA, tmp_path), CHARADES_STA).items
    outputs = ["<think>1 to 2</think><answer>24.3s - 30.3s</answer>", "It happens from 00:04 to 00:12."]
    rows = [scored(CHARADES_STA, item, output) for item, output in zip(items, outputs, strict=True)]
    assert rows[0].values == {"mIoU": 1.0, "R@0.3": 1.0, "R@0.5": 1.0, "R@0.7": 1.0}
    assert rows[1].values == {"mIoU": 0.5, "R@0.3": 1.0, "R@0.5": 1.0, "R@0.7": 0.0}
    assert rows[1].extracted["mIoU"] == "4 to 12"
    totals = summarise(CHARADES_STA, rows, missing="wrong", resamples=20, seed=0)["overall"]
    assert {name: total["mean"] for name, total in totals.items()} == pytest.approx(
        {"mIoU": 0.75, "R@0.3": 1.0, "R@0.5": 1.0, "R@0.7": 0.5}
    )


def test_no_answer_has_the_iou_0(tmp_path: Path) -> None:
    (tmp_path / "charades_sta_test.txt").write_text(LINES)
    item = read_items([tmp_path / "charades_sta_test.txt"], CHARADES_STA).items[0]
    for output in (None, "", "<answer></answer>", "sometime"):
        assert set(scored(CHARADES_STA, item, output).values.values()) == {0.0}
