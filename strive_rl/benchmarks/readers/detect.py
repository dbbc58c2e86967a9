"""Which form a file of predictions has, and reading it."""

from __future__ import annotations

from pathlib import Path

from strive_data.common.settings import choose
from strive_data.errors import UsageError
from strive_rl.benchmarks.item import Benchmark
from strive_rl.benchmarks.readers import lmms_eval, ours, tempcompass_output, video_r1_output
from strive_rl.benchmarks.readers.prediction import EXPECTED, PredictionFile, Records, read_records

# In the order in which they are tried; each is told by fields that the others lack.
FITS = {
    ours.NAME: ours.fits,
    lmms_eval.NAME: lmms_eval.fits,
    tempcompass_output.NAME: tempcompass_output.fits,
    video_r1_output.NAME: video_r1_output.fits,
}


def read_predictions(
    path: Path, benchmark: Benchmark, *, format_name: str | None = None, sampler: str | None = None
) -> PredictionFile:
    """Predictions of a file, or of the predictions.jsonl in a folder.

    Raises UsageError for an unknown format, a file in none, and for frame samplers as `ours.read` does.
    """
    file = path / "predictions.jsonl" if path.is_dir() else path
    records = read_records(file)
    name = choose(format_name, FITS, "format") if format_name else format_of(records)
    if sampler is not None and name != ours.NAME:
        raise UsageError(f"predictions {file}: --sampler is for our own predictions, these are {name}'s")
    if name == ours.NAME:
        return ours.read(records, benchmark, sampler)
    if name == lmms_eval.NAME:
        return lmms_eval.read(records)
    if name == tempcompass_output.NAME:
        return tempcompass_output.read(records)
    return video_r1_output.read(records, benchmark)


def format_of(records: Records) -> str:
    """Name of the first format whose fields some row has; UsageError if there is none."""
    for name, fits in FITS.items():
        if fits(records):
            return name
    raise UsageError(f"predictions {records.path}: in no known form; {EXPECTED}")
