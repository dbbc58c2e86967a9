"""MMVU's two output layouts: rows of its annotation with `response`, and the authors' judged outputs.

The second have `ground_truth_answer` instead of `answer`, and `correct`, the verdict of the authors' judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strive_rl.benchmarks.item import Benchmark, text_of
from strive_rl.benchmarks.readers.prediction import Prediction, PredictionFile, Records, item_of, lettered

NAME = "mmvu"
OPEN_TYPE = "open-ended"


def fits(records: Records) -> bool:
    """Whether a row has an id, choices and a response."""
    return any({"id", "choices", "response"} <= row.keys() for _, row in records.rows)


def read(records: Records, benchmark: Benchmark) -> PredictionFile:
    """All its predictions, each with its question; a row without a response is a bad one."""
    bad, predictions = list(records.bad), []
    for place, row in records.rows:
        response = row.get("response")
        if not isinstance(response, str):
            bad.append(f"{place}: no response")
            continue
        number, correct = text_of(row, "id"), row.get("correct")
        predictions.append(
            Prediction(
                place=place,
                output=response,
                ids=(number,) if number else (),
                video=text_of(row, "video"),
                question=text_of(row, "question"),
                options=_options(row),
                judgement=float(correct) if isinstance(correct, bool) else None,
                item=item_of(_layout(row), row, benchmark, records.path),
            )
        )
    return PredictionFile(format=NAME, predictions=tuple(predictions), bad=tuple(bad))


def _layout(row: Mapping[str, Any]) -> dict[str, Any]:
    options = _options(row)
    return {
        "problem_id": text_of(row, "id"),
        "problem": row.get("question"),
        "problem_type": "multiple choice" if options else "free-form",
        "options": list(options),
        "solution": text_of(row, "answer", "ground_truth_answer"),
        "path": text_of(row, "video").rpartition("/resolve/main/")[2] or text_of(row, "id"),
    }


def _options(row: Mapping[str, Any]) -> tuple[str, ...]:
    return () if row.get("question_type") == OPEN_TYPE else lettered(row.get("choices"))
