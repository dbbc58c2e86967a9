"""MLVU (dev), its multiple-choice questions: 2,175 of seven tasks; the mean over tasks (M-Avg).

Official (github.com/JUNJIE99/MLVU, evaluation/multiple_choice_evaluation/choice_bench.py): the character
before the first ")" of the output, else the whole output, is the letter. The authors' prompt ends with "(",
so that an output begins "B) …". The two tasks of descriptions need a judge of the authors' and are not here.
"""

from __future__ import annotations

from pathlib import Path

from strive_rl.benchmarks.item import (
    OFFICIAL,
    ROBUST,
    Benchmark,
    Convention,
    Item,
    Row,
    Tags,
    Verdict,
    text_of,
)
from strive_rl.benchmarks.open_answer import choice_verdict
from strive_rl.benchmarks.rules.official import UNCHECKED, bare_output
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1

FILES = ("1_plotQA", "2_needle", "3_ego", "4_count", "5_order", "6_anomaly_reco", "7_topic_reasoning")
TASKS = {"findNeedle": "needle"}


def official_score(output: str, item: Item) -> Verdict:
    """1 where the character before the first ")" is the letter, or the output is nothing else."""
    text = bare_output(output)
    end = text.find(")")
    letter = text if end < 0 else text[max(end - 1, 0) : end]
    return Verdict(value=float(letter == item.question.answer), extracted=letter or None)


def task_of(tags: Tags) -> tuple[str, str]:
    """(task, "") for the mean over tasks."""
    return tags.get("task", ""), ""


def _tags(row: Row, path: Path) -> dict[str, str]:
    kind = text_of(row, "question_type", "task_type")
    return {"task": TASKS.get(kind, kind)}


MLVU = Benchmark(
    name="mlvu",
    title="MLVU (dev), multiple choice",
    published=2175,
    files=tuple((f"json/{name}.json", f"data/{name}.json", f"{name}.json") for name in FILES),
    recipe="mlvu",
    tags=_tags,
    breakdowns=("task",),
    conventions=(
        Convention(
            name=OFFICIAL,
            score=official_score,
            strata=task_of,
            note="the authors' code: the character before the first ')', else all of it; mean over tasks",
        ),
        Convention(
            name=ROBUST,
            score=choice_verdict,
            strata=task_of,
            note="the option that the answer names; unreadable is wrong; mean over tasks",
        ),
        VIDEO_R1,
    ),
    notes=(
        UNCHECKED,
        "In eight published rows the answer is the text of no option or of several; they cannot be asked.",
        "Sub-scene captioning and video summary, which the authors have a judge rate, are not included.",
    ),
)
