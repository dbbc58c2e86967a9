"""TempCompass's own files of predictions and of ratings: {video: {dimension: [row]}}, one file a task.

The rating of a row that the authors' rules did not match is their language model's: it is read as a
judgement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from strive_rl.benchmarks.item import Benchmark, text_of
from strive_rl.benchmarks.readers.prediction import Prediction, PredictionFile, Records
from strive_rl.benchmarks.rules.tempcompass import TASKS

NAME = "tempcompass"
OUTPUTS = ("video-llm-prediction", "prediction", "response")


def fits(records: Records) -> bool:
    """Whether the file is an object of objects of lists, whose rows hold predictions."""
    return any(any(name in row for name in OUTPUTS) for _, _, _, row in _rows(records))


def read(records: Records, benchmark: Benchmark | None = None) -> PredictionFile:
    """All its predictions; null counts as an empty output, as the authors count it."""
    task = next((task for task in TASKS if task in records.path.name), "")
    bad, predictions = list(records.bad), []
    for video, dimension, number, row in _rows(records):
        place = f"{records.path.name} {video}/{dimension}[{number}]"
        if not any(name in row for name in OUTPUTS):
            bad.append(f"{place}: none of {', '.join(OUTPUTS)}")
            continue
        predictions.append(
            Prediction(
                place=place,
                output=text_of(row, *OUTPUTS),
                ids=(f"{task}-{video}-{dimension}-{number}",) if task else (),
                video=video,
                question=text_of(row, "question"),
                group=task,
                judgement=_judgement(row),
            )
        )
    return PredictionFile(format=NAME, predictions=tuple(predictions), bad=tuple(bad))


def _rows(records: Records) -> Iterator[tuple[str, str, int, Mapping[str, Any]]]:
    for video, dimensions in (records.tree or {}).items():
        if not isinstance(dimensions, Mapping):
            continue
        for dimension, rows in dimensions.items():
            for number, row in enumerate(rows if isinstance(rows, list) else ()):
                if isinstance(row, Mapping):
                    yield video, dimension, number, row


def _judgement(row: Mapping[str, Any]) -> float | None:
    """The judge's rating, 0 or 1; captions have no `match_success`, and −1 where the judge failed."""
    rating = row.get("rating")
    return float(rating) if row.get("match_success") is not True and rating in (0, 1) else None
