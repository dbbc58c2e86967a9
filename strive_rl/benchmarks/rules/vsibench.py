"""VSI-Bench: 5,130 questions on indoor scenes, 2,640 of them answered by a number.

Choices by accuracy, numbers by mean relative accuracy (MRA). The total is a mean over eight tasks; relative
direction is one task, the mean of its three difficulties.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from strive_data.annotations.numbers import parse_number
from strive_rl.algorithm.accuracy import mean_relative_accuracy
from strive_rl.benchmarks.item import Benchmark, Convention, Item, Row, Verdict, text_of
from strive_rl.benchmarks.open_answer import choice_verdict
from strive_rl.benchmarks.parsing import one_number
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1

DIRECTION = "object_rel_direction"
NUMERIC = ("object_counting", "object_abs_distance", "object_size_estimation", "room_size_estimation")


def vsibench_score(output: str, item: Item) -> Verdict:
    """Accuracy of a choice; MRA(p, g) = mean over θ ∈ {.50, …, .95} of [|p − g|/|g| ≤ 1 − θ], exactly."""
    if item.question.problem_type == "multiple choice":
        return choice_verdict(output, item)
    value, truth = one_number(output), parse_number(item.question.answer)
    if value is None or truth is None:
        return Verdict(value=0.0, extracted=None)
    return Verdict(value=mean_relative_accuracy(value, truth), extracted=_shown(value))


def floating_score(output: str, item: Item) -> Verdict:
    """As `vsibench_score`, with MRA in double precision as the authors' code computes it.

    There 1 − .8 is less than .2, so an error that stands exactly at a threshold may miss it: MRA(4, 5) is .6
    and not .7.
    """
    exact = vsibench_score(output, item)
    value, truth = one_number(output), parse_number(item.question.answer)
    if item.question.problem_type == "multiple choice" or value is None or not truth:
        return exact
    return Verdict(value=floating_mra(float(value), float(truth)), extracted=exact.extracted)


def floating_mra(value: float, truth: float) -> float:
    """MRA over ten evenly spaced thresholds, in double precision; `truth` is not 0."""
    tolerances = 1 - np.linspace(0.5, 0.95, 10)
    return float((abs(value - truth) / abs(truth) <= tolerances).mean())


def task_of(tags: Mapping[str, str]) -> tuple[str, str]:
    """(task, difficulty) for the mean over tasks; "" where a row does not tell its task."""
    return tags.get("task", ""), tags.get("difficulty", "")


def _shown(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"


def _tags(row: Row, path: Path) -> dict[str, str]:
    kind = text_of(row, "question_type", "original_question_type")
    return {
        "task": DIRECTION if kind.startswith(DIRECTION) else kind,
        "difficulty": kind.removeprefix(DIRECTION).strip("_") if kind.startswith(DIRECTION) else "",
        "answer": "number" if kind in NUMERIC else "choice",
        "scenes": text_of(row, "dataset") or text_of(row, "path").removeprefix("./").partition("/")[0],
    }


VSIBENCH = Benchmark(
    name="vsibench",
    title="VSI-Bench",
    published=5130,
    files=(("test.jsonl", "test-*.parquet"),),
    tags=_tags,
    breakdowns=("task", "difficulty", "answer", "scenes"),
    conventions=(
        Convention(
            name="official",
            score=vsibench_score,
            strata=task_of,
            note="mean over 8 tasks (relative direction: of 3 difficulties), MRA with ≤ in exact arithmetic",
        ),
        Convention(
            name="official_floating",
            score=floating_score,
            strata=task_of,
            note="the same with MRA in double precision, as the authors' code rounds it",
        ),
        VIDEO_R1,
    ),
)
