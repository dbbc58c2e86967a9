"""A folder → the cases to judge by: QVHighlights as published, or a build with evidence spans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from strive_data.config import SamplerSettings
from strive_data.counted import counted
from strive_data.errors import UsageError
from strive_data.judge.case import Case, Moment
from strive_data.judge.qvhighlights import TRUTH_FILE, read_qvhighlights
from strive_data.query import scan
from strive_data.schema import Times
from strive_data.shards import RUN_FILE, read_run


@dataclass(frozen=True, kw_only=True, eq=False)
class Cases:
    """What can be judged of a folder: `without` samples have no known evidence and are left out.

    `built`: the sampler settings of a build, whose stored variants the cases carry; None for QVHighlights.
    """

    source: str
    cases: list[Case]
    without: int = 0
    built: SamplerSettings | None = None


def read_cases(folder: Path) -> Cases:
    """Cases of a folder. Raises UsageError where it is neither a QVHighlights folder nor a finished build,
    or where nothing in it has known evidence."""
    if not (folder / RUN_FILE).is_file() and (folder / TRUTH_FILE).is_file():
        return Cases(source="QVHighlights", cases=read_qvhighlights(folder))
    if folder.is_dir() and not (folder / RUN_FILE).is_file():
        raise UsageError(
            f"{folder} has neither {RUN_FILE} (a finished build) nor {TRUTH_FILE} (the QVHighlights folder)"
        )
    return read_build_cases(folder)


def read_build_cases(folder: Path) -> Cases:
    """Cases of a finished build: its own scores and stored variants, its annotation's evidence spans."""
    built = SamplerSettings(**read_run(folder)["settings"]["sampler"])
    columns = ("sample_id", "video_id", "variants", "evidence_spans")
    samples = scan(folder, "samples").select(columns).collect()
    known = samples.filter(pl.col("evidence_spans").list.len() > 0)
    if known.is_empty():
        raise UsageError(
            f"{folder}: none of its {counted(samples.height, 'sample')} has evidence spans: nothing to judge "
            "by. Build from an annotation whose rows have 'evidence_spans' (as `strive-data synth` writes)"
        )
    frames = (
        scan(folder, "frames")
        .select("sample_id", "time", "score", taken="variants")
        .group_by("sample_id", maintain_order=True)
        .agg("time", "score", "taken")
        .collect()
    )
    rows = known.join(frames, on="sample_id", how="inner", maintain_order="left").iter_rows(named=True)
    cases = [_case(row) for row in rows]
    return Cases(source=str(folder), cases=cases, without=samples.height - len(cases), built=built)


def moment_of(times_N: Times, start_seconds: float, end_seconds: float) -> Moment:
    """Half-open range of the candidates whose times lie in a span, both ends included."""
    first = np.searchsorted(times_N, start_seconds, side="left")
    return int(first), int(np.searchsorted(times_N, end_seconds, side="right"))


def _case(row: dict[str, Any]) -> Case:
    times_N = np.array(row["time"])
    stored = [[i for i, taken in enumerate(row["taken"]) if m in taken] for m in range(row["variants"])]
    return Case(
        sample_id=row["sample_id"],
        video_id=row["video_id"],
        scores=np.array(row["score"], dtype=np.float32),
        moments=tuple(moment_of(times_N, start, end) for start, end in row["evidence_spans"]),
        stored=np.array(stored, dtype=np.int32),
    )
