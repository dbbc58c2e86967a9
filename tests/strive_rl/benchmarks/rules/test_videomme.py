from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from strive_rl.benchmarks.items import read_items
from strive_rl.benchmarks.readers.detect import read_predictions
from strive_rl.benchmarks.readers.join import join
from strive_rl.benchmarks.rules.videomme import VIDEOMME, first_letter
from strive_rl.benchmarks.scoring import scored, summarise
from tests.strive_rl.benchmarks.made_items import choice_item


def test_all_published_questions_are_read(shared_data: Path) -> None:
    items = read_items([shared_data / "benchmarks" / "video_r1_layout" / "videomme.json"], VIDEOMME)
    assert items.rows == len(items.items) == VIDEOMME.published == 2700
    assert len({one.question.video for one in items.items}) == 900
    counted = {name: Counter(one.tags[name] for one in items.items) for name in VIDEOMME.breakdowns[:4]}
    assert counted["duration"] == {"short": 900, "medium": 900, "long": 900}
    assert counted["domain"]["Knowledge"] == 810
    assert (len(counted["task type"]), len(counted["sub-category"])) == (12, 30)


@pytest.mark.parametrize(
    ("output", "letter"),
    [
        ("B", "B"),
        (" The best answer is C.", "C"),
        ("The answer D", "D"),
        ("Because it is red", "B"),
        ("Best answer: B", "B"),
        ("The best option is A", "A"),
        ("b", None),
        ("It is red.", None),
        ("", None),
    ],
)
def test_official_is_the_first_capital_letter(output: str, letter: str | None) -> None:
    assert first_letter(output) == letter


def test_official_leaves_out_what_it_cannot_read_and_robust_counts_it_wrong() -> None:
    row = scored(VIDEOMME, choice_item("B"), "It is red.")
    assert (row.values, row.left_out) == ({"robust": 0.0, "video_r1": 0.0}, ("official",))
    assert scored(VIDEOMME, choice_item("B"), None).values["official"] == 0.0  # missing, not unreadable
    rows = [row, scored(VIDEOMME, choice_item("B"), "B")]
    summary = summarise(VIDEOMME, rows, missing="wrong", resamples=9, seed=0)
    assert summary["left_out"] == {"official": 1}
    assert [summary["overall"][name]["mean"] for name in ("official", "robust")] == [1, 0.5]


@pytest.mark.parametrize("annotated", [False, True])
def test_the_authors_totals_of_a_real_model_are_reproduced(shared_data: Path, annotated: bool) -> None:
    folder = shared_data / "benchmarks"
    read = read_predictions(folder / "videomme_outputs" / "minicpm-o.official_layout.json", VIDEOMME)
    assert (read.format, read.bad) == ("videomme", ())
    held = [p.item for p in read.predictions if p.item is not None]
    items = read_items([folder / "video_r1_layout" / "videomme.json"], VIDEOMME).items if annotated else held
    joined = join(items, read.predictions)
    assert (len(joined.predictions), joined.unknown) == (2700, ())
    rows = [scored(VIDEOMME, one, joined.predictions[one.question.sample_id].output) for one in items]
    summary = summarise(VIDEOMME, rows, missing="wrong", resamples=9, seed=0)
    durations = summary["by"]["duration"]
    means = [summary["overall"], durations["short"], durations["medium"], durations["long"]]
    assert [f"{100 * part['official']['mean']:.1f}" for part in means] == ["68.5", "79.8", "68.4", "57.3"]
    assert len(summary["by"]["duration × domain"]) == 18
