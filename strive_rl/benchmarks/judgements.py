"""Writes out what rules cannot decide for a judge, and reads a judge's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from strive_data.common.text import plural
from strive_data.errors import UsageError
from strive_rl.answers.judge import grading_prompt
from strive_rl.benchmarks.formats import FORMATS
from strive_rl.benchmarks.items import Benchmark, Item, Scored
from strive_rl.benchmarks.predictions import Records, join, read_records
from strive_rl.benchmarks.rules.tempcompass import TEMPCOMPASS, judged_letter
from strive_rl.benchmarks.scoring import own_extracted, scored

SCORES = ("score", "rating", "correct")
EXPECTED = (
    'expected a line of {"sample_id", "score"} for each line of for_judge.jsonl, or a rated file of '
    "TempCompass of the same questions"
)
CAPTION_TASK = (
    "Choose the one option of the question that the caption states, from the caption alone; if it states no "
    "option or several, choose none."
)


def judge_rows(benchmark: Benchmark, item: Item, row: Scored) -> list[dict[str, Any]]:
    """The lines of for_judge.jsonl of a question: one for each answer that the rules do not decide."""
    if not row.outputs:
        return [judge_row(benchmark, item, row)]
    each = [replace(scored(benchmark, item, output), sample_id=row.sample_id) for output in row.outputs]
    return [
        judge_row(benchmark, item, one) | {"answer": number}
        for number, one in enumerate(each)
        if one.status == "awaiting judge"
    ]


def judge_row(benchmark: Benchmark, item: Item, row: Scored) -> dict[str, Any]:
    """The line of for_judge.jsonl of one output that the rules do not decide."""
    question = item.judge_question or "\n".join([item.question.question, *item.question.options])
    reference = item.judge_reference or item.question.answer
    answer = next(filter(None, own_extracted(row)), row.output or "")
    return {
        "sample_id": row.sample_id,
        "question": question,
        "reference": reference,
        "output": row.output,
        "extracted": answer,
        "prompt": judge_prompt(benchmark, item, question, reference, answer),
    }


def judge_prompt(benchmark: Benchmark, item: Item, question: str, reference: str, answer: str) -> str:
    """A prompt for a judge, in this project's own words. A caption's judge does not see the reference."""
    if item.judge_question:
        return (
            f"{CAPTION_TASK}\n\nCaption:\n{answer}\n\nQuestion:\n{question}\n\n"
            'Write the option that the caption states in full ("B. text"), or: none.'
        )
    return grading_prompt(benchmark.judge_task, question, reference, answer)


def read_judgements(path: Path, items: Sequence[Item]) -> dict[str, float]:
    """Judgement in [0, 1] by sample id.

    Lines of {"sample_id", "score"} (or "rating", "correct"), or {"sample_id", "judge_answer"} where the judge
    answered a caption's question; or a rated file of TempCompass. Raises UsageError for a line without a
    judgement, a repeated id, an id that no question has, and a rated file of other questions.
    """
    records = read_records(path, "judgements", EXPECTED)
    if FORMATS["tempcompass"].fits(records):
        return _read_rated(records, items)
    return _read_lines(records, {item.question.sample_id: item for item in items})


def _read_rated(records: Records, items: Sequence[Item]) -> dict[str, float]:
    """The ratings of the rows that have one; the rules decide the others."""
    rows = join(items, FORMATS["tempcompass"].read(records, TEMPCOMPASS).predictions).predictions
    if not rows:
        asked = plural(len(items), "question")
        raise UsageError(f"judgements {records.path}: its rows match none of {asked}; {EXPECTED}")
    return {sample_id: row.judgement for sample_id, row in rows.items() if row.judgement is not None}


def _read_lines(records: Records, known: dict[str, Item]) -> dict[str, float]:
    judgements: dict[str, float] = {}
    for place, row in records.rows:
        if "sample_id" not in row:
            raise UsageError(f"judgements {place}: no sample_id; {EXPECTED}")
        sample_id = str(row["sample_id"])
        if sample_id not in known:
            raise UsageError(
                f"judgements {place}: sample_id {sample_id!r} is not among {plural(len(known), 'question')}"
            )
        if sample_id in judgements:
            raise UsageError(f"judgements {place}: {sample_id} is judged twice")
        value = _value(row, known[sample_id])
        if value is None:
            raise UsageError(
                f"judgements {place}: expected score (or {' or '.join(SCORES[1:])}) from 0 to 1, or "
                "judge_answer to a caption's question"
            )
        judgements[sample_id] = value
    if records.bad:
        raise UsageError(f"judgements {records.bad[0]}")
    return judgements


def _value(row: Any, item: Item) -> float | None:
    for name in SCORES:
        score = row.get(name)
        if isinstance(score, int | float) and 0 <= score <= 1:
            return float(score)
    answer = row.get("judge_answer")
    if isinstance(answer, str) and item.judge_reference:
        return judged_letter(answer, item.judge_reference)
    return None
