"""The time line of a sample, as the report and the picture show it; the picture, drawn by matplotlib.

The score of each candidate over time, with the evidence spans shaded; below, one row for each variant and one
for the uniform control, with their frames in order. In the picture lengths are inches; rows of few frames are
linked to their moments on the time axis; rows of many frames are broken into lines of `FRAMES_A_LINE`, and
their frames have their time below.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from strive_data.common.files import require_suffix
from strive_data.common.settings import choose
from strive_data.errors import UsageError
from strive_data.schema import Frames, Indices, Sample
from strive_data.shards.format import decode_jpeg
from strive_data.shards.reader import ShardSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


PIXELS_PER_INCH = 200
WIDTH, GUTTER, MARGIN, CURVE_HEIGHT, AXIS_HEIGHT = 10.7, 0.85, 0.15, 1.25, 0.45
LINK_HEIGHT, TIME_HEIGHT, ROW_GAP = 0.32, 0.17, 0.14
MOST_LINKED, FRAMES_A_LINE, MOST_SLOT = 12, 16, 1.5
FILLED = 0.94  # share of a frame's slot that it fills
INK = "#1d2127"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "text.color": INK,
}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Places of the frames: `slot` is the width that each has, `frame` its size; `linked` as above."""

    linked: bool
    a_line: int
    lines: int
    slot: float
    frame: tuple[float, float]

    @property
    def row_height(self) -> float:
        """Height of all lines of a row."""
        below = 0 if self.linked else TIME_HEIGHT
        return self.lines * (self.frame[1] + below) + (LINK_HEIGHT if self.linked else 0) + ROW_GAP

    def corner(self, place: int, count: int) -> tuple[float, float]:
        """Left and top of a frame within its row of `count` frames; each line is centred."""
        line, column = divmod(place, self.a_line)
        in_line = min(self.a_line, count - line * self.a_line)
        left = GUTTER + (WIDTH - GUTTER - MARGIN - self.slot * in_line) / 2 + self.slot * column
        return left, (LINK_HEIGHT if self.linked else 0) + line * (self.frame[1] + TIME_HEIGHT)


def write_plot(build: Path, sample_id: str, out: Path) -> tuple[int, int]:
    """Write the time line of one sample to `out`; returns its width and height in pixels.

    Raises UsageError for an unknown sample, a name that does not end in .png and a file that cannot be
    written.
    """
    require_suffix(out, [".png"])
    shards = ShardSet.open(build)
    position = shards.sample_ids.index(choose(sample_id, shards.sample_ids, "sample"))
    figure = timeline_figure(shards.read(position))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, format="png", metadata={"Software": None})
    except OSError as error:
        raise UsageError(f"--out {out}: cannot write: {error.strerror or error}") from error
    width, height = figure.canvas.get_width_height()
    return width, height


def timeline_figure(sample: Sample) -> Figure:
    """The picture of one sample."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = timeline_rows(sample)
    grid = frame_grid(sample, rows)
    top = MARGIN + CURVE_HEIGHT + AXIS_HEIGHT
    height = top + grid.row_height * len(rows)
    candidates = shown_candidates(rows)
    pairs = zip(candidates.tolist(), sample.jpegs_of(candidates), strict=True)
    pictures = {i: decode_jpeg(jpeg) for i, jpeg in pairs}
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), dpi=PIXELS_PER_INCH)
        across = (WIDTH - GUTTER - MARGIN) / WIDTH
        curve_bottom = 1 - (MARGIN + CURVE_HEIGHT) / height
        _draw_curve(
            figure.add_axes((GUTTER / WIDTH, curve_bottom, across, CURVE_HEIGHT / height)), sample, rows
        )
        board = figure.add_axes((0, 0, 1, 1), facecolor="none")
        board.axis("off")
        for place, row in enumerate(rows):
            _draw_row(board, row, grid, top + place * grid.row_height, pictures, end_seconds(sample))
        board.set(xlim=(0, WIDTH), ylim=(height, 0))
    return figure


def frame_grid(sample: Sample, rows: Sequence[Row]) -> Grid:
    """The grid that the longest row needs."""
    most = max(len(row.frames) for row in rows)
    linked = most <= MOST_LINKED
    a_line = most if linked else FRAMES_A_LINE
    slot = min((WIDTH - GUTTER - MARGIN) / a_line, MOST_SLOT)
    info = sample.meta.info
    wide = slot * FILLED
    size = (wide, wide * info.height / max(info.width, 1))
    return Grid(linked=linked, a_line=a_line, lines=math.ceil(most / a_line), slot=slot, frame=size)


def _draw_curve(axes: Axes, sample: Sample, rows: Sequence[Row]) -> None:
    for start, end in sample.meta.question.evidence_spans:
        axes.axvspan(start, min(end, end_seconds(sample)), color=EVIDENCE_COLOUR, alpha=0.3, linewidth=0)
    axes.plot(sample.times, sample.scores, color=INK, linewidth=1)
    for place, row in enumerate(rows[:-1]):
        # Later variants are smaller, so that no dot is hidden.
        size = 6.5 - 1.8 * min(place, 2)
        seconds, scores = zip(*((frame.seconds, frame.score) for frame in row.frames), strict=True)
        axes.plot(seconds, scores, "o", color=row.colour, markersize=size, clip_on=False, zorder=3 + place)
    axes.set(xlim=(0, end_seconds(sample)), xlabel="seconds", ylabel="score")
    axes.spines[["top", "right"]].set_visible(False)
    axes.locator_params("y", nbins=4)


def _draw_row(
    board: Axes, row: Row, grid: Grid, top: float, pictures: Mapping[int, Frames], end: float
) -> None:
    wide, high = grid.frame
    for place, frame in enumerate(row.frames):
        left, down = grid.corner(place, len(row.frames))
        y = top + down
        board.imshow(pictures[frame.candidate], extent=(left, left + wide, y + high, y), aspect="auto")
        if grid.linked:
            moment = GUTTER + (WIDTH - GUTTER - MARGIN) * frame.seconds / end
            _draw_link(board, (moment, top), (left + wide / 2, y), row.colour)
        else:
            board.text(left + wide / 2, y + high + 0.11, f"{frame.seconds:.1f} s", ha="center", fontsize=6)
    middle = top + grid.row_height / 2
    board.text(GUTTER - 0.1, middle, row.name, color=row.colour, weight="bold", ha="right", va="center")


def _draw_link(board: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """An S-shaped line from a moment on the axis to the frame."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    bend = (end[1] - start[1]) / 2
    points = [start, (start[0], end[1] - bend / 2), (end[0], start[1] + bend / 2), end]
    path = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
    board.add_patch(PathPatch(path, facecolor="none", edgecolor=colour, linewidth=0.8, alpha=0.6))
