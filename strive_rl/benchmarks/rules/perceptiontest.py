"""PerceptionTest (validation): 19,140 questions with three options; accuracy over questions.

Published answers are indices; the recipe turns them into letters. Official: a prediction is an index counted
from 0, and a question counts under each of its tags. The authors read no text: any other output is read as
its letter.
"""

from __future__ import annotations

from pathlib import Path
from string import ascii_uppercase

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
from strive_rl.benchmarks.rules.official import bare_output
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1

TRAINED_ON = (
    "Video-R1's training data contains PerceptionTest's training videos: a policy trained on it has seen "
    "this kind of video and question, so its accuracy here does not measure transfer."
)
INDICES = {str(index): ascii_uppercase[index] for index in range(3)}


def official_score(output: str, item: Item) -> Verdict:
    """1 for the right index or letter."""
    letter = INDICES.get(bare_output(output).strip())
    if letter is None:
        return choice_verdict(output, item)
    return Verdict(value=float(letter == item.question.answer), extracted=letter)


def _tags(row: Row, path: Path) -> dict[str, str]:
    tag = row.get("tag")
    listed = [name for name in tag if isinstance(name, str)] if isinstance(tag, list) else []
    return {
        "area": text_of(row, "area"),
        "reasoning": text_of(row, "reasoning"),
        "tag": LIST.join(listed) or text_of(row, "tag"),
    }


PERCEPTIONTEST = Benchmark(
    name="perceptiontest",
    title="PerceptionTest",
    published=19140,
    files=(("mc_question_val.json", "mc_question_valid.json", "mc_question_val/*.parquet"),),
    tags=_tags,
    breakdowns=("area", "reasoning", "tag"),
    conventions=(
        Convention(name=OFFICIAL, score=official_score, note="index of the option from 0, or its letter"),
        Convention(
            name=ROBUST, score=choice_verdict, note="the option that the answer names; unreadable is wrong"
        ),
        VIDEO_R1,
    ),
    notes=(TRAINED_ON,),
)
