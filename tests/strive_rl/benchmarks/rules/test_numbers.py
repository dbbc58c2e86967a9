from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strive_data.errors import UsageError
from strive_rl.benchmarks.items import find_annotations, read_items
from strive_rl.benchmarks.rules.numbers import (
    CHARADES_STA,
    DIRECTION,
    NEXT_GQA_GROUNDED,
    VSIBENCH,
    floating_mra,
    official_score,
    robust_score,
    task_of,
)
from strive_rl.benchmarks.scoring import scored, summarise, total
from tests.strive_rl.benchmarks.made_items import choice_item, item


@pytest.mark.parametrize(
    ("output", "truth", "official", "robust"),
    [
        ("4", "4", 1.0, 1.0),
        ("9", "10", 0.9, 0.9),
        ("4", "5", 0.6, 0.7),  # .2 ≤ 1 − .8 holds, but not in double precision
        ("3", "4", 0.6, 0.6),
        ("2 chairs", "4", 0.1, 0.1),
        ("8", "4", 0.0, 0.0),
        ("3.8.", "4", 1.0, 1.0),
        ("The answer is 3.8 meters.", "4", 0.0, 1.0),
        ("4\nmeters", "4", 0.0, 1.0),
        ("3 or 4", "4", 0.5 + 0.1, 0.0),
        ("<think>9?</think><answer>4</answer>", "4", 1.0, 1.0),
        ("4", "0", 0.0, 0.0),
        ("", "4", 0.0, 0.0),
    ],
)
def test_numbers_by_mean_relative_accuracy(output: str, truth: str, official: float, robust: float) -> None:
    one = item(truth, "regression", task="object_counting")
    assert official_score(output, one).value == pytest.approx(official)
    assert robust_score(output, one).value == pytest.approx(robust)


def test_double_precision_is_that_of_the_published_formula() -> None:
    thresholds = np.linspace(0.5, 0.95, int((0.95 - 0.5) / 0.05 + 2))
    for value, truth in ((4, 5), (9, 10), (7, 10), (1.3, 2.0), (2.85, 3.0)):
        assert floating_mra(value, truth) == (abs(value - truth) / truth <= 1 - thresholds).mean()


@pytest.mark.parametrize(
    ("output", "official", "robust"),
    [("B. back", 1, 1), ("b", 1, 1), ("C", 0, 0), ("The answer is B.", 0, 1), ("B) back", 0, 1)],
)
def test_choices_by_the_first_word_or_the_answer(output: str, official: float, robust: float) -> None:
    one = choice_item("B", ("A. front", "B. back", "C. left", "D. right"))
    assert (official_score(output, one).value, robust_score(output, one).value) == (official, robust)


def test_the_total_is_over_tasks_and_of_directions_over_difficulties() -> None:
    tags = [
        {"task": "object_counting"},
        {"task": DIRECTION, "difficulty": "easy"},
        {"task": DIRECTION, "difficulty": "easy"},
        {"task": DIRECTION, "difficulty": "hard"},
        {"task": "route_planning"},
        {"task": "route_planning"},
    ]
    outputs = ["B", "B", "A", "A", "B", "A"]  # right: 1 · (½ and 0) · ½
    rows = [
        scored(VSIBENCH, choice_item("B", **tag), output) for tag, output in zip(tags, outputs, strict=True)
    ]
    official, _, theirs = VSIBENCH.conventions
    macro, micro = total(official, rows, (10, 0)), total(theirs, rows, (10, 0))
    assert macro.mean == pytest.approx((1 + 0.25 + 0.5) / 3)
    assert micro.mean == pytest.approx(3 / 6)
    assert task_of({}) == ("", "")


def test_all_published_questions_are_read(shared_data: Path) -> None:
    items = read_items([shared_data / "benchmarks" / "video_r1_layout" / "vsibench.json"], VSIBENCH)
    assert items.rows == len(items.items) == VSIBENCH.published == 5130
    assert sum(one.tags["answer"] == "number" for one in items.items) == 2640
    assert len({one.tags["task"] for one in items.items}) == 8
    directions = [one.tags["difficulty"] for one in items.items if one.tags["task"] == DIRECTION]
    assert {name: directions.count(name) for name in set(directions)} == {
        "easy": 217,
        "medium": 378,
        "hard": 373,
    }


def test_authors_rows_have_the_same_tags() -> None:
    row = {"question_type": "object_rel_direction_hard", "dataset": "scannet"}
    assert VSIBENCH.tags(row, Path("x")) == {
        "task": DIRECTION,
        "difficulty": "hard",
        "answer": "choice",
        "scenes": "scannet",
    }


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


GQA = (
    "video_id,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
    "10109006686,719,320,240,what then,lay down,0,TP,clap,sit,lay down,run,crawl\n"
)
SPANS = '{"10109006686": {"duration": 35, "location": {"0": [[-0.1, 10], [20, 24.0]]}, "fps": 29.97}}'


@pytest.mark.parametrize(
    ("output", "right", "iop", "iou"),
    [
        ("C; 5 to 15", 1, 5 / 10, 5 / 15.1),
        ("<think>1 to 2 s</think><answer>lay down; 21.0s - 23.0s</answer>", 1, 1, 2 / 4),
        ("<think>x</think><answer>C</answer> 20 to 24 seconds", 1, 1, 1),
        ("C, 8 to 12 and 20 to 24", 1, 4 / 16, 4 / 16),  # read as 8 to 24
        ("A [20, 30]", 0, 4 / 10, 4 / 10),
        ("C, 12 to 15", 1, 0, 0),
        ("C; 5 to 5", 1, 1, 0),
        ("C", 1, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_grounded_answers_as_the_authors_script_measures_them(
    tmp_path: Path, output: str, right: float, iop: float, iou: float
) -> None:
    (tmp_path / "test.csv").write_text(GQA)
    (tmp_path / "gsub_test.json").write_text(SPANS)
    (one,) = read_items(find_annotations(NEXT_GQA_GROUNDED, tmp_path), NEXT_GQA_GROUNDED).items
    expected = {"Acc@GQA": right * (iop >= 0.5), "Acc@QA": right, "mIoP": iop, "mIoU": iou}
    expected |= {"IoP@0.3": iop >= 0.3, "IoP@0.5": iop >= 0.5, "IoU@0.3": iou >= 0.3, "IoU@0.5": iou >= 0.5}
    assert scored(NEXT_GQA_GROUNDED, one, output).values == pytest.approx(
        {name: float(value) for name, value in expected.items()}
    )


def test_grounding_needs_the_file_of_spans(tmp_path: Path) -> None:
    (tmp_path / "test.csv").write_text(GQA)
    with pytest.raises(UsageError, match=r"gsub_test.json.*beside test.csv"):
        read_items([tmp_path / "test.csv"], NEXT_GQA_GROUNDED)
