"""An annotation of the user: each question by its type, as the reward's accuracy scores it."""

from __future__ import annotations

from pathlib import Path

from strive_rl.answers.accuracy import accuracy_of, read_number
from strive_rl.benchmarks.item import Benchmark, Convention, Item, Row, Verdict, text_of
from strive_rl.benchmarks.open_answer import choice_verdict
from strive_rl.benchmarks.parsing import final_text
from strive_rl.benchmarks.rules.video_r1 import VIDEO_R1


def custom_score(output: str, item: Item) -> Verdict:
    """The accuracy that training rewards, in [0, 1], of the answer that the output settles on."""
    question = item.question
    if question.problem_type == "multiple choice":
        return choice_verdict(output, item)
    answer = final_text(output)
    if not answer:
        return Verdict(value=0.0, extracted=None)
    read = read_number(answer) if question.problem_type in ("numerical", "regression") else answer
    return Verdict(value=accuracy_of(answer, question), extracted=None if read is None else str(read))


def _tags(row: Row, path: Path) -> dict[str, str]:
    return {
        "source": text_of(row, "data_source", "source"),
        "question type": text_of(row, "original_question_type", "question_type", "problem_type"),
    }


CUSTOM = Benchmark(
    name="own",
    title="own annotation",
    published=0,
    tags=_tags,
    breakdowns=("source", "question type"),
    conventions=(Convention(name="accuracy", score=custom_score), VIDEO_R1),
)
