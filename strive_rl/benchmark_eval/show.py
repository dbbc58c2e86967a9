"""The results of an evaluation on a benchmark as they are printed. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from strive_rl.score_table import compare_table, score_table

NOT_TRAINING = "of the same model, by the choice of frames alone: no gain of training"


def benchmark_table(results: dict[str, Any]) -> str:
    """A table for each frame sampler, then what the others gain over uniform frames, then a baseline's."""
    return "\n".join(_parts(results))


def _parts(results: dict[str, Any]) -> Iterator[str]:
    for sampler, column in results["columns"].items():
        yield f"{sampler} frames"
        yield score_table(column)
    for sampler, gain in results["gains"].items():
        yield f"{sampler} − uniform frames, {NOT_TRAINING}"
        yield compare_table(gain)
    for sampler, gain in results.get("baseline", {}).items():
        yield f"this − baseline, {sampler} frames"
        yield compare_table(gain)
    if results["failures"]:
        kinds = ", ".join(f"{count} {kind}" for kind, count in results["failures"].items())
        became = "count as wrong" if results["missing"] == "wrong" else "are left out of the mean"
        yield f"questions without an answer: {kinds} (failures.jsonl); they {became}"
