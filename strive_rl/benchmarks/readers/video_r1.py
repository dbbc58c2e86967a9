"""The output of Video-R1's evaluation: {"results": [row of its annotation with `output`]}, or the rows."""

from __future__ import annotations

from strive_rl.benchmarks.item import Benchmark, text_of
from strive_rl.benchmarks.readers.prediction import Prediction, PredictionFile, Records, item_of

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
        output, options = row.get("output", row.get("prediction")), row.get("options")
        if not isinstance(output, str):
            bad.append(f"{place}: no output")
            continue
        texts = isinstance(options, list) and all(isinstance(option, str) for option in options)
        predictions.append(
            Prediction(
                place=place,
                output=output,
                ids=tuple(filter(None, [text_of(row, "problem_id")])),
                video=text_of(row, "path"),
                question=text_of(row, "problem", "question"),
                options=tuple(options or ()) if texts else (),
                item=item_of(row, row, benchmark, records.path),
            )
        )
    return PredictionFile(format=NAME, predictions=tuple(predictions), bad=tuple(bad))
