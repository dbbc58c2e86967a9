"""An annotation of the user's own: each question by its type, as the reward's accuracy scores it."""

from __future__ import annotations

from pathlib import Path

from strive_data.schema import Question
from strive_rl.algorithm.accuracy import accuracy_of
from strive_rl.benchmarks.item import Benchmark, Convention, Item, Row, Verdict, text_of
from strive_rl.benchmarks.open_answer import choice_verdict
from strive_rl.benchmarks.parsing import final_text, one_number
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1


def own_score(output: str, item: Item) -> Verdict:
    """The letter for multiple choice; else the accuracy that training rewards, in [0, 1]."""
    question = item.question
    if question.problem_type == "multiple choice":
        return choice_verdict(output, item)
    answer = final_text(output)
    if question.problem_type in ("numerical", "regression"):
        answer = _number_in(answer, question)
    if not answer:
        return Verdict(value=0.0, extracted=None)
    return Verdict(value=accuracy_of(answer, question), extracted=answer)


def _number_in(answer: str, question: Question) -> str:
    value = one_number(answer)
    return "" if value is None else f"{value.numerator}/{value.denominator}"


def _tags(row: Row, path: Path) -> dict[str, str]:
    return {
        "source": text_of(row, "data_source", "source"),
        "question type": text_of(row, "original_question_type", "question_type", "problem_type"),
    }


OWN = Benchmark(
    name="own",
    title="own annotation",
    published=0,
    tags=_tags,
    breakdowns=("source", "question type"),
    conventions=(Convention(name="accuracy", score=own_score), VIDEO_R1),
)
