"""The time line of a sample: what the report and the picture show of it. Pure.

The score of each candidate over time, with the evidence spans shaded; below, one row for each variant and one
for the uniform control, with their frames in order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strive_data.schema import Indices, Sample

# Legible on white and on the dark page.
COLOURS = ("#d64550", "#2e86de", "#2f9e68", "#c98a1b", "#8e63ce", "#1f9aa5")
CONTROL_COLOUR, EVIDENCE_COLOUR = "#76869a", "#e8b33c"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A frame of a row; `evidence`: whether its time lies in an evidence span."""

    candidate: int
    seconds: float
    score: float
    evidence: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """The frames of one variant, numbered from 0 as in the tables, or of the uniform control."""

    name: str
    colour: str
    frames: tuple[Frame, ...]

    @property
    def evidence_frames(self) -> int:
        """How many of the frames show the evidence."""
        return sum(frame.evidence for frame in self.frames)


def timeline_rows(sample: Sample) -> list[Row]:
    """The rows of a sample: its variants, then the control."""
    named = [(f"variant {m}", COLOURS[m % len(COLOURS)], frames) for m, frames in enumerate(sample.variants)]
    named.append(("uniform", CONTROL_COLOUR, sample.uniform))
    return [Row(name=name, colour=colour, frames=_frames(sample, frames)) for name, colour, frames in named]


def end_seconds(sample: Sample) -> float:
    """The right end of the time axis."""
    return max(sample.meta.info.duration_seconds, float(sample.times[-1]), 1e-9)


def shown_candidates(rows: list[Row]) -> Indices:
    """The distinct candidates of all rows, increasing."""
    return np.unique([frame.candidate for row in rows for frame in row.frames]).astype(np.int32)


def _frames(sample: Sample, candidates: Indices) -> tuple[Frame, ...]:
    spans = sample.meta.question.evidence_spans
    return tuple(
        Frame(
            candidate=int(i),
            seconds=float(sample.times[i]),
            score=float(sample.scores[i]),
            evidence=any(start <= sample.times[i] <= end for start, end in spans),
        )
        for i in candidates
    )
