"""LongVideoBench (validation): 1,337 questions on videos of 8 seconds to one hour; accuracy over questions.

Official (lmms-eval, tasks/longvideobench/utils.py, which says that it is the paper's rule): phrases such as
"The answer is" are removed, then the first capital letter A–E counts, even inside a word. An output without
one gets a random option there; here it counts with the mean of that, 1 of the number of options.
"""

from __future__ import annotations

import re
from pathlib import Path

from strive_rl.benchmarks.item import OFFICIAL, ROBUST, Benchmark, Convention, Item, Row, Verdict, text_of
from strive_rl.benchmarks.open_answer import choice_verdict
from strive_rl.benchmarks.rules.official import UNCHECKED, bare_output
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1

# Removed wherever they occur, in this order.
PHRASES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
)
LETTER = re.compile("[ABCDE]")
# Seconds up to which a group goes, as the annotation names them.
DURATIONS = {"15": "8-15 s", "60": "15-60 s", "600": "3-10 min", "3600": "15-60 min"}


def official_score(output: str, item: Item) -> Verdict:
    """1 for the right first letter, 0 for another one, the chance of a guess without any."""
    text = bare_output(output).strip()
    for phrase in PHRASES:
        text = text.replace(phrase, "")
    found = LETTER.search(text)
    if found is None:
        return Verdict(value=1 / len(item.question.options), extracted=None)
    return Verdict(value=float(found[0] == item.question.answer), extracted=found[0])


def _tags(row: Row, path: Path) -> dict[str, str]:
    group = text_of(row, "duration_group")
    return {
        "duration": DURATIONS.get(group, group),
        "question category": text_of(row, "question_category"),
        "level": text_of(row, "level"),
        "topic": text_of(row, "topic_category"),
    }


LONGVIDEOBENCH = Benchmark(
    name="longvideobench",
    title="LongVideoBench",
    published=1337,
    files=(("lvb_val.json", "validation-*.parquet", "data/validation-*.parquet"),),
    tags=_tags,
    breakdowns=("duration", "question category", "level", "topic", "duration × question category"),
    conventions=(
        Convention(
            name=OFFICIAL,
            score=official_score,
            note="first letter A–E; an output without one counts as a guess, 1 of the number of options",
        ),
        Convention(
            name=ROBUST, score=choice_verdict, note="the option that the answer names; unreadable is wrong"
        ),
        VIDEO_R1,
    ),
    order=tuple(DURATIONS.values()),
    notes=(
        UNCHECKED,
        "Subtitles are not shown to the policy: results of the authors that interleave them are higher.",
    ),
)
