"""Video-Holmes: 1,837 questions with six options on 270 suspense short films; accuracy over questions.

Official (github.com/TencentARC/Video-Holmes, evaluate.py): of the last `<answer>`, else of the whole output,
the first letter of A to F, in this order, that a blank or colon follows or a "[" precedes; else the first of
them that occurs at all, even inside a word.
"""

from __future__ import annotations

import re
from pathlib import Path

from strive_rl.benchmarks.item import OFFICIAL, ROBUST, Benchmark, Convention, Item, Row, Verdict, text_of
from strive_rl.benchmarks.open_answer import choice_verdict
from strive_rl.benchmarks.rules.official import UNCHECKED
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1

ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)
LETTERS = "ABCDEF"
# Seven types, by the authors' short names.
TYPES = ("SR", "IMC", "TCI", "TA", "MHR", "PAR", "CTI")


def official_score(output: str, item: Item) -> Verdict:
    """1 where the letter that the authors' script finds is the right one."""
    letter = found_letter(output)
    return Verdict(value=float(letter == item.question.answer), extracted=letter)


def found_letter(output: str) -> str | None:
    """The letter of an output, None where no capital A to F occurs."""
    answers = ANSWER.findall(output)
    text = answers[-1].strip() if answers else output
    marked = (x for x in LETTERS if f"{x} " in text or f"{x}:" in text or f"[{x}" in text)
    return next(marked, None) or next((x for x in LETTERS if x in text), None)


def _tags(row: Row, path: Path) -> dict[str, str]:
    return {"question type": text_of(row, "Question Type", "original_question_type")}


VIDEO_HOLMES = Benchmark(
    name="video-holmes",
    title="Video-Holmes",
    published=1837,
    files=(("test_Video-Holmes.json", "Benchmark/test_Video-Holmes.json"),),
    tags=_tags,
    breakdowns=("question type",),
    conventions=(
        Convention(
            name=OFFICIAL,
            score=official_score,
            note="the authors' script: first of A to F that is marked in the last <answer>, or else occurs",
        ),
        Convention(
            name=ROBUST, score=choice_verdict, note="the option that the answer names; unreadable is wrong"
        ),
        VIDEO_R1,
    ),
    order=TYPES,
    notes=(UNCHECKED,),
)
