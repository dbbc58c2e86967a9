"""Our own predictions.jsonl: a line a question (and frame sampler), with `sample_id` and `output`.

A line that also has `question`, `answer` and `problem_type`, and where they apply `options`, `video` and
`tags`, can be scored without an annotation. `outputs` are all answers where several were sampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strive_data.errors import UsageError
from strive_rl.benchmarks.item import Benchmark, Item
from strive_rl.benchmarks.readers.prediction import Prediction, PredictionFile, Records, item_of

NAME = "strive"
FRAME_FIELDS = ("sampler", "times", "frames_from", "finished")


def fits(records: Records) -> bool:
    """Whether a row has `sample_id` and `output`."""
    return any("sample_id" in row and "output" in row for _, row in records.rows)


def read(
    records: Records, benchmark: Benchmark, sampler: str | None = None, *, all_answers: bool = False
) -> PredictionFile:
    """Predictions of one frame sampler; with `all_answers` also those that were not elected.

    Raises UsageError where the file holds several samplers and none is chosen.
    """
    samplers = sorted({str(row["sampler"]) for _, row in records.rows if "sampler" in row})
    if sampler is None and len(samplers) > 1:
        raise UsageError(
            f"predictions {records.path} hold several samplers: choose --sampler {' | '.join(samplers)}"
        )
    if sampler is not None and sampler not in samplers:
        held = ", ".join(samplers) or "no named sampler"
        raise UsageError(f"predictions {records.path}: --sampler {sampler}: it holds {held}")
    bad = list(records.bad)
    predictions = []
    for place, row in records.rows:
        if sampler is not None and str(row.get("sampler")) != sampler:
            continue
        if not isinstance(row.get("sample_id"), str | int) or not isinstance(row.get("output"), str):
            bad.append(f"{place}: sample_id or output is missing")
            continue
        predictions.append(_prediction(place, row, benchmark, all_answers))
    return PredictionFile(format=NAME, predictions=tuple(predictions), bad=tuple(bad))


def _prediction(place: str, row: Mapping[str, Any], benchmark: Benchmark, all_answers: bool) -> Prediction:
    video, question = row.get("video"), row.get("question")
    return Prediction(
        place=place,
        output=row["output"],
        ids=(str(row["sample_id"]),),
        video=video if isinstance(video, str) else "",
        question=question if isinstance(question, str) else "",
        options=_texts(row.get("options")),
        item=_item(row, benchmark),
        frames={name: row[name] for name in FRAME_FIELDS if name in row},
        # Of answers that elected one, that one counts.
        outputs=() if "elected" in row and not all_answers else _texts(row.get("outputs")),
        logprobs=_numbers(row.get("logprobs")),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else ()


def _numbers(value: object) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(v, float) for v in value) else ()


def _item(row: Mapping[str, Any], benchmark: Benchmark) -> Item | None:
    """The question that the line holds, read with the annotation's own checks."""
    layout = {
        "problem_id": row["sample_id"],
        "problem": row.get("question"),
        "problem_type": row.get("problem_type"),
        "options": row.get("options") or [],
        "solution": row.get("answer"),
        "path": row.get("video") or row.get("video_id"),
        "data_source": row.get("source"),
    }
    tags = row.get("tags")
    named = {str(name): str(value) for name, value in tags.items()} if isinstance(tags, Mapping) else None
    return item_of(layout, row, benchmark, tags=named)
