"""Where everything of a sample's time line stands: one layout that picture.py and plot.py draw.

Pure: a sample in, shapes out, in pixels from the top left. The score of each candidate over time, evidence
spans shaded; below, one row for each variant and one for the uniform control: its frames in order, each
linked to its moment on the axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from strive_data.schema import Indices, Sample

MARGIN, CURVE_HEIGHT, LINK_HEIGHT, AXIS_HEIGHT, ROW_GAP = 16, 120, 34, 24, 14
GUTTER = 76  # left of the axis: labels
LEAST_WIDTH, LEAST_THUMBNAIL, MOST_THUMBNAIL = 1070, 72, 130
FONT_PIXELS = 12
COLOURS = ("#d1495b", "#2e6fbb", "#3f9c6d", "#b7791f", "#7b4fa3", "#1f8a8a")
CONTROL_COLOUR, AXIS_COLOUR, LABEL_COLOUR = "#7a7a7a", "#999999", "#595959"
CURVE_COLOUR, EVIDENCE_COLOUR = "#333333", "#ffe9a8"
FILLED = 0.94  # share of a thumbnail's slot that it fills

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A filled rectangle."""

    left: float
    top: float
    width: float
    height: float
    colour: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """Straight strokes through points."""

    points: tuple[Point, ...]
    colour: str
    width: float


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A filled circle."""

    centre: Point
    radius: float
    colour: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Link:
    """A cubic curve from a moment on the axis (first of four control points) to a thumbnail (last)."""

    controls: tuple[Point, Point, Point, Point]
    colour: str


@dataclass(frozen=True, kw_only=True)
class Label:
    """A line of text whose base line stands at y; `anchor` says what of it is at x."""

    x: float
    y: float
    text: str
    colour: str
    anchor: Literal["start", "middle", "end"] = "end"
    bold: bool = False


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """The frame of a candidate, its upper left corner at (left, top); all have one size."""

    candidate: int
    left: float
    top: float
    title: str


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A picture of `width`×`height`; shapes in the order in which they are drawn."""

    width: int
    height: int
    thumbnail_size: Point
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    dots: tuple[Dot, ...]
    labels: tuple[Label, ...]
    links: tuple[Link, ...]
    thumbnails: tuple[Thumbnail, ...]


@dataclass(frozen=True, kw_only=True)
class _Row:
    name: str
    colour: str
    frames: Indices
    top: float


def timeline(sample: Sample) -> Layout:
    """Layout of one sample."""
    most = max(sample.variants.shape[1], len(sample.uniform))
    width = max(LEAST_WIDTH, LEAST_THUMBNAIL * most + GUTTER + MARGIN)
    axis = _Axis(sample, width, most)
    rows = _rows(sample, axis)
    return Layout(
        width=width,
        height=round(rows[-1].top + axis.row_height),
        thumbnail_size=axis.thumbnail_size,
        boxes=tuple(_evidence(sample, axis)),
        lines=_lines(sample, axis),
        dots=tuple(dot for place, row in enumerate(rows[:-1]) for dot in _dots(sample, axis, row, place)),
        labels=(*_axis_labels(axis), *(_row_label(axis, row) for row in rows)),
        links=tuple(link for row in rows for link in _links(sample, axis, row)),
        thumbnails=tuple(thumbnail for row in rows for thumbnail in _thumbnails(sample, axis, row)),
    )


class _Axis:
    """Seconds and scores to picture coordinates, and the size of a thumbnail."""

    def __init__(self, sample: Sample, width: int, frames: int) -> None:
        info = sample.meta.info
        self.width, self.length = width, width - GUTTER - MARGIN
        self.end_seconds = max(info.duration_seconds, float(sample.times[-1]), 1e-9)
        self.low, self.high = float(sample.scores.min()), float(sample.scores.max())
        self.slot = min(self.length / frames, MOST_THUMBNAIL)
        wide = self.slot * FILLED
        self.thumbnail_size = (wide, wide * info.height / max(info.width, 1))
        self.row_height = LINK_HEIGHT + self.thumbnail_size[1] + ROW_GAP

    def x(self, seconds: float) -> float:
        return GUTTER + self.length * seconds / self.end_seconds

    def y(self, score: float) -> float:
        share = (score - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return MARGIN + (CURVE_HEIGHT - 4) * (1 - share) + 2

    def place(self, row: _Row, number: int) -> Point:
        """Upper left corner of a row's thumbnail `number`; the row is centred below the axis."""
        left = GUTTER + (self.length - self.slot * len(row.frames)) / 2
        return left + self.slot * number, row.top + LINK_HEIGHT


def _rows(sample: Sample, axis: _Axis) -> list[_Row]:
    named = [(f"variant {m + 1}", COLOURS[m % len(COLOURS)], row) for m, row in enumerate(sample.variants)]
    named.append(("uniform", CONTROL_COLOUR, sample.uniform))
    start = MARGIN + CURVE_HEIGHT + AXIS_HEIGHT
    return [
        _Row(name=name, colour=colour, frames=frames, top=start + number * axis.row_height)
        for number, (name, colour, frames) in enumerate(named)
    ]


def _evidence(sample: Sample, axis: _Axis) -> Iterator[Box]:
    for start, end in sample.meta.question.evidence_spans:
        left, right = axis.x(start), axis.x(min(end, axis.end_seconds))
        title = f"evidence: {start:.2f} to {end:.2f} s"
        wide = max(right - left, 1)
        yield Box(left=left, top=MARGIN, width=wide, height=CURVE_HEIGHT, colour=EVIDENCE_COLOUR, title=title)


def _lines(sample: Sample, axis: _Axis) -> tuple[Line, ...]:
    points = tuple((axis.x(t), axis.y(s)) for t, s in zip(sample.times, sample.scores, strict=True))
    bottom = MARGIN + CURVE_HEIGHT
    ground = ((GUTTER, bottom), (axis.width - MARGIN, bottom))
    return (
        Line(points=points, colour=CURVE_COLOUR, width=1.5),
        Line(points=ground, colour=AXIS_COLOUR, width=1),
    )


def _axis_labels(axis: _Axis) -> Iterator[Label]:
    bottom = MARGIN + CURVE_HEIGHT
    moments: Sequence[float] = np.linspace(0, axis.end_seconds, 9).tolist()
    for number, seconds in enumerate(moments):
        anchor: Literal["start", "middle", "end"] = "middle"
        if number in (0, len(moments) - 1):
            anchor = "end" if number else "start"
        text = f"{seconds:.1f} s"
        yield Label(x=axis.x(seconds), y=bottom + 15, text=text, colour=LABEL_COLOUR, anchor=anchor)
    for y, text in (
        (MARGIN + 8, f"{axis.high:.3f}"),
        (MARGIN + 62, "score"),
        (bottom, f"{axis.low:.3f}"),
    ):
        yield Label(x=GUTTER - 8, y=y, text=text, colour=LABEL_COLOUR)


def _row_label(axis: _Axis, row: _Row) -> Label:
    y = row.top + LINK_HEIGHT + axis.thumbnail_size[1] / 2 + 4
    return Label(x=GUTTER - 8, y=y, text=row.name, colour=row.colour, bold=True)


def _dots(sample: Sample, axis: _Axis, row: _Row, place: int) -> Iterator[Dot]:
    """A dot on the curve for each frame of a variant; later variants smaller, so that none is hidden."""
    for i in row.frames:
        centre = (axis.x(sample.times[i]), axis.y(sample.scores[i]))
        radius = 5 - 1.5 * min(place, 2)
        yield Dot(centre=centre, radius=radius, colour=row.colour, title=_title(sample, row, i))


def _links(sample: Sample, axis: _Axis, row: _Row) -> Iterator[Link]:
    for number, i in enumerate(row.frames):
        left, top = axis.place(row, number)
        middle, moment = left + axis.thumbnail_size[0] / 2, axis.x(sample.times[i])
        controls = ((moment, row.top), (moment, top - 12), (middle, row.top + 12), (middle, top))
        yield Link(controls=controls, colour=row.colour)


def _thumbnails(sample: Sample, axis: _Axis, row: _Row) -> Iterator[Thumbnail]:
    for number, i in enumerate(row.frames):
        left, top = axis.place(row, number)
        yield Thumbnail(candidate=int(i), left=left, top=top, title=_title(sample, row, i))


def _title(sample: Sample, row: _Row, i: int) -> str:
    return f"{row.name}: {sample.times[i]:.2f} s, score {sample.scores[i]:.3f}"
