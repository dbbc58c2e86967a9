"""Detects the format of a file of predictions and reads it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from strive_data.common.settings import choose
from strive_data.errors import UsageError
from strive_rl.benchmarks.item import Benchmark
from strive_rl.benchmarks.readers import lmms_eval, mmvu, strive, tempcompass, video_r1, videomme
from strive_rl.benchmarks.readers.prediction import EXPECTED, PredictionFile, Records, read_records

# Each module has NAME, `fits(records)` and `read(records, benchmark)`; the first one that fits reads a file.
FORMATS: dict[str, ModuleType] = {
    module.NAME: module for module in (strive, lmms_eval, tempcompass, videomme, mmvu, video_r1)
}


def read_predictions(
    path: Path,
    benchmark: Benchmark,
    *,
    format_name: str | None = None,
    sampler: str | None = None,
    all_answers: bool = False,
) -> PredictionFile:
    """Predictions of a file, or of the predictions.jsonl in a folder; `all_answers` as in `strive.read`.

    Raises UsageError for an unknown format, a file in no known format, and a frame sampler as `strive.read`.
    """
    file = path / "predictions.jsonl" if path.is_dir() else path
    records = read_records(file)
    name = choose(format_name, FORMATS, "format") if format_name else format_of(records)
    if name == strive.NAME:
        return strive.read(records, benchmark, sampler, all_answers=all_answers)
    if sampler is not None:
        raise UsageError(
            f"predictions {file}: --sampler selects among our own predictions, but the format is {name}"
        )
    read: PredictionFile = FORMATS[name].read(records, benchmark)
    return read


def format_of(records: Records) -> str:
    """Name of the first format that fits. Raises UsageError if none does."""
    for name, module in FORMATS.items():
        if module.fits(records):
            return name
    raise UsageError(f"predictions {records.path}: unknown format; {EXPECTED}")
