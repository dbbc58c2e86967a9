"""LVBench: 1,549 questions on 103 videos of 30 minutes to two hours; accuracy over questions.

Official (github.com/THUDM/LVBench): lvbench/utils/answer_util.py polishes an output, which then must equal
the letter; a question counts under each of its types (lvbench/metrics/compute_accuracy.py).
"""

from __future__ import annotations

from pathlib import Path

from strive_rl.benchmarks.item import (
    LIST,
    OFFICIAL,
    ROBUST,
    Benchmark,
    Convention,
    Item,
    Row,
    Verdict,
    text_of,
)
from strive_rl.benchmarks.open_answer import choice_verdict
from strive_rl.benchmarks.rules.official import UNCHECKED, bare_output
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1


def official_score(output: str, item: Item) -> Verdict:
    """1 where the polished output is the letter."""
    letter = polished(bare_output(output))
    return Verdict(value=float(letter == item.question.answer), extracted=letter or None)


def polished(output: str) -> str:
    """The first character of the first word before the first ")" and behind a "(" there; "" without any."""
    text = output.strip().split(")")[0].strip()
    if "(" in text:
        text = text.split("(")[1].strip()
    return text.split(" ")[0][:1]


def _tags(row: Row, path: Path) -> dict[str, str]:
    kinds = row.get("question_type")
    listed = [kind for kind in kinds if isinstance(kind, str)] if isinstance(kinds, list) else []
    return {
        "question type": LIST.join(listed) or text_of(row, "question_type"),
        "video type": text_of(row, "type"),
    }


LVBENCH = Benchmark(
    name="lvbench",
    title="LVBench",
    published=1549,
    files=(("video_info.meta.jsonl", "data/video_info.meta.jsonl"),),
    recipe="lvbench",
    tags=_tags,
    breakdowns=("question type", "video type"),
    conventions=(
        Convention(
            name=OFFICIAL,
            score=official_score,
            note="the authors' code: first character, behind '(' and before ')' where there are any",
        ),
        Convention(
            name=ROBUST, score=choice_verdict, note="the option that the answer names; unreadable is wrong"
        ),
        VIDEO_R1,
    ),
    notes=(UNCHECKED,),
)
