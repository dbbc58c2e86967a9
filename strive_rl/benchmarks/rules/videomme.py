"""VideoMME: 2,700 questions with four options on 900 videos; accuracy over questions, also by duration.

Official: the first capital letter A–D of the output, once phrases such as "The answer is" are removed; an
output without one is left out of the mean (github.com/BradyFU/Video-MME, evaluation/eval_your_results.py).
"""

from __future__ import annotations

import re
from pathlib import Path

from strive_rl.benchmarks.item import OFFICIAL, ROBUST, Benchmark, Convention, Item, Row, Verdict, text_of
from strive_rl.benchmarks.open_answer import choice_verdict
from strive_rl.benchmarks.rules.official import bare_output
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1

DURATIONS = ("short", "medium", "long")
# Removed wherever they occur, in this order. The last two are two phrases each: a comma is missing there.
PHRASES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option isThe correct option is",
    "Best answer:Best option:",
)
LETTER = re.compile("[ABCD]")


def official_score(output: str, item: Item) -> Verdict:
    """1 for the right first letter, 0 for another one; an output without a letter is left out."""
    letter = first_letter(bare_output(output))
    value = float(letter == item.question.answer)
    return Verdict(value=value, extracted=letter, left_out=letter is None)


def first_letter(output: str) -> str | None:
    """The first of the letters A, B, C and D behind the removed phrases, even inside a word."""
    text = output.strip()
    for phrase in PHRASES:
        text = text.replace(phrase, "")
    found = LETTER.search(text)
    return found[0] if found else None


def _tags(row: Row, path: Path) -> dict[str, str]:
    return {
        "duration": text_of(row, "duration", "duration_category"),
        "domain": text_of(row, "domain", "video_category"),
        "sub-category": text_of(row, "sub_category", "video_subcategory"),
        "task type": text_of(row, "task_type", "original_question_type"),
    }


VIDEOMME = Benchmark(
    name="videomme",
    title="VideoMME",
    published=2700,
    files=(("videomme/test-*.parquet", "test-*.parquet", "videomme.parquet", "videomme.json"),),
    tags=_tags,
    breakdowns=(
        "duration",
        "domain",
        "task type",
        "sub-category",
        "duration × domain",
        "duration × task type",
        "duration × sub-category",
    ),
    conventions=(
        Convention(
            name=OFFICIAL,
            score=official_score,
            note="the authors' script: first letter A–D, outputs without one left out of the mean",
        ),
        Convention(
            name=ROBUST, score=choice_verdict, note="the option that the answer names; unreadable is wrong"
        ),
        VIDEO_R1,
    ),
    order=DURATIONS,
)
