"""Small items for the tests of scoring."""

from __future__ import annotations

from strive_data.schema import ProblemType, Question
from strive_rl.benchmarks.items import Item

FRUIT = ("A. apples", "B. candles", "C. berries", "D. A man with apples")


def choice_item(answer: str = "B", options: tuple[str, ...] = FRUIT, **tags: str) -> Item:
    return item(answer, "multiple choice", options, **tags)


def item(
    answer: str,
    kind: ProblemType = "free-form",
    options: tuple[str, ...] = (),
    *,
    name: str = "q",
    **tags: str,
) -> Item:
    question = Question(
        sample_id=name,
        video=f"videos/{name}.mp4",
        question="What is seen?",
        answer=answer,
        problem_type=kind,
        options=options,
    )
    return Item(question=question, tags=tags)
