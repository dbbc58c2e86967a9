"""The output of Video-R1's evaluation: {"results": [row of its annotation with `output`]}, or the rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strive_data.annotations.question import question_of
from strive_data.annotations.videos import VideoFolder
from strive_data.errors import SampleError
from strive_rl.benchmarks.item import Benchmark, Item, text_of
from strive_rl.benchmarks.items import tags_of
from strive_rl.benchmarks.readers.prediction import Prediction, PredictionFile, Records

NAME = "video-r1"
RESULTS = "results"


def fits(records: Records) -> bool:
    """Whether a row has `problem` or `solution`, and an `output` or `prediction`."""
    return any(
        ("problem" in row or "solution" in row) and ("output" in row or "prediction" in row)
        for _, row in records.listed(RESULTS)
    )


def read(records: Records, benchmark: Benchmark) -> PredictionFile:
    """All its predictions, each with its question; a row without an output is a bad one."""
    bad, predictions = list(records.bad), []
    for place, row in records.listed(RESULTS):
        output = row.get("output", row.get("prediction"))
        if not isinstance(output, str):
            bad.append(f"{place}: no output")
            continue
        options = row.get("options")
        listed = (
            tuple(options) if isinstance(options, list) and all(isinstance(o, str) for o in options) else ()
        )
        predictions.append(
            Prediction(
                place=place,
                output=output,
                ids=tuple(filter(None, [text_of(row, "problem_id")])),
                video=text_of(row, "path"),
                question=text_of(row, "problem", "question"),
                options=listed,
                item=_item(row, benchmark, records.path),
            )
        )
    return PredictionFile(format=NAME, predictions=tuple(predictions), bad=tuple(bad))


def _item(row: Mapping[str, Any], benchmark: Benchmark, path: Path) -> Item | None:
    try:
        question = question_of(row, VideoFolder(Path(), check_files=False))
    except SampleError:
        return None
    return Item(question=question, tags=tags_of(benchmark, row, path))
