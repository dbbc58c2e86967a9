"""The time line of one sample as an SVG picture: scores over time, and which frames each variant took.

Pure: a sample in, text out. Frames are embedded as small JPEGs, so that a page of many samples stays light.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from strive_data.schema import Indices, Sample

MARGIN, CURVE_HEIGHT, LINK_HEIGHT, AXIS_HEIGHT, ROW_GAP = 16, 120, 34, 22, 14
GUTTER = 72  # left of the axis: labels
LEAST_WIDTH, LEAST_THUMBNAIL, MOST_THUMBNAIL = 1070, 54, 130
COLOURS = ("#d1495b", "#2e6fbb", "#3f9c6d", "#b7791f", "#7b4fa3", "#1f8a8a")
CONTROL_COLOUR = "#7a7a7a"
SVG = "http://www.w3.org/2000/svg"


def timeline_svg(sample: Sample) -> str:
    """SVG of one sample: the score of each candidate over time, evidence spans shaded, then one row for each
    variant and one for the uniform control: its frames in order, each linked to its moment on the axis."""
    rows = [(f"variant {m + 1}", COLOURS[m % len(COLOURS)], row) for m, row in enumerate(sample.variants)]
    rows.append(("uniform", CONTROL_COLOUR, sample.uniform))
    width = max(LEAST_WIDTH, LEAST_THUMBNAIL * max(len(row) for _, _, row in rows) + GUTTER + MARGIN)
    axis = _Axis(sample, width)
    thumbnail_height = _thumbnail_height(sample, axis, len(rows[0][2]))
    parts = [*_curve(sample, axis), *_marks(sample, axis, rows)]
    top: float = MARGIN + CURVE_HEIGHT + AXIS_HEIGHT
    for name, colour, row in rows:
        parts += _row(sample, axis, row, name=name, colour=colour, top=top, height=thumbnail_height)
        top += LINK_HEIGHT + thumbnail_height + ROW_GAP
    style = "font:11px system-ui,sans-serif"
    head = f'<svg xmlns="{SVG}" viewBox="0 0 {width} {top:.0f}" width="{width}" style="{style}">'
    return "".join([head, f'<rect width="{width}" height="{top:.0f}" fill="#fff"/>', *parts, "</svg>"])


class _Axis:
    """Seconds and scores to picture coordinates."""

    def __init__(self, sample: Sample, width: int) -> None:
        self.width, self.length = width, width - GUTTER - MARGIN
        self.end_seconds = max(sample.meta.info.duration_seconds, float(sample.times[-1]), 1e-9)
        self.low, self.high = float(sample.scores.min()), float(sample.scores.max())

    def x(self, seconds: float) -> float:
        return GUTTER + self.length * seconds / self.end_seconds

    def y(self, score: float) -> float:
        share = (score - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return MARGIN + (CURVE_HEIGHT - 4) * (1 - share) + 2


def _thumbnail_height(sample: Sample, axis: _Axis, frames: int) -> float:
    info = sample.meta.info
    return _slot(axis, frames) * 0.94 * info.height / max(info.width, 1)


def _slot(axis: _Axis, frames: int) -> float:
    """Width of one thumbnail's place, bounded so that few frames do not grow without end."""
    return min(axis.length / frames, MOST_THUMBNAIL)


def _curve(sample: Sample, axis: _Axis) -> Iterator[str]:
    bottom = MARGIN + CURVE_HEIGHT
    for start, end in sample.meta.question.evidence_spans:
        left, right = axis.x(start), axis.x(min(end, axis.end_seconds))
        size = f'width="{max(right - left, 1):.1f}" height="{CURVE_HEIGHT}"'
        yield f'<rect x="{left:.1f}" y="{MARGIN}" {size} fill="#ffe9a8"><title>evidence</title></rect>'
    points = " ".join(
        f"{axis.x(t):.1f},{axis.y(s):.1f}" for t, s in zip(sample.times, sample.scores, strict=True)
    )
    yield f'<polyline points="{points}" fill="none" stroke="#333" stroke-width="1.5"/>'
    yield f'<line x1="{GUTTER}" x2="{axis.width - MARGIN}" y1="{bottom}" y2="{bottom}" stroke="#999"/>'
    for seconds in np.linspace(0, axis.end_seconds, 9):
        anchor = "end" if seconds == axis.end_seconds else "start" if seconds == 0 else "middle"
        place = f'x="{axis.x(seconds):.1f}" y="{bottom + 14}" text-anchor="{anchor}"'
        yield f'<text {place} fill="#666">{seconds:.1f} s</text>'
    for y, label in ((MARGIN + 6, f"{axis.high:.3f}"), (MARGIN + 60, "score"), (bottom, f"{axis.low:.3f}")):
        yield f'<text x="{GUTTER - 8}" y="{y}" text-anchor="end" fill="#666">{label}</text>'


def _marks(sample: Sample, axis: _Axis, rows: Sequence[tuple[str, str, Indices]]) -> Iterator[str]:
    """A dot on the curve for each frame of each variant."""
    for place, (name, colour, row) in enumerate(rows[:-1]):
        for i in row:
            x, y = axis.x(sample.times[i]), axis.y(sample.scores[i])
            yield (
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 - 1.5 * min(place, 2):.1f}" fill="{colour}">'
                f"<title>{name}: {sample.times[i]:.2f} s, score {sample.scores[i]:.3f}</title></circle>"
            )


def _thumbnail(jpeg: bytes) -> bytes:
    """The same picture, at most twice as wide as it is shown; unchanged where it is small already."""
    image = Image.open(BytesIO(jpeg))
    side = 2 * MOST_THUMBNAIL
    if image.width <= side:
        return jpeg
    image.thumbnail((side, side))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _row(
    sample: Sample, axis: _Axis, row: Indices, *, name: str, colour: str, top: float, height: float
) -> Iterator[str]:
    slot = _slot(axis, len(row))
    left = GUTTER + (axis.length - slot * len(row)) / 2
    label = f'x="{GUTTER - 8}" y="{top + LINK_HEIGHT + height / 2 + 4:.1f}" text-anchor="end"'
    yield f'<text {label} fill="{colour}" font-weight="bold">{name}</text>'
    for place, (i, jpeg) in enumerate(zip(row, sample.jpegs_of(row), strict=True)):
        x, y = left + slot * place, top + LINK_HEIGHT
        middle, moment = x + slot * 0.47, axis.x(sample.times[i])
        yield (
            f'<path d="M{moment:.1f},{top:.1f} C{moment:.1f},{y - 12:.1f} {middle:.1f},{top + 12:.1f} '
            f'{middle:.1f},{y:.1f}" fill="none" stroke="{colour}" stroke-opacity=".55"/>'
        )
        source = "data:image/jpeg;base64," + b64encode(_thumbnail(jpeg)).decode()
        size = f'width="{slot * 0.94:.1f}" height="{height:.1f}"'
        yield (
            f'<image x="{x:.1f}" y="{y:.1f}" {size} preserveAspectRatio="none" href="{source}">'
            f"<title>{name}: {sample.times[i]:.2f} s, score {sample.scores[i]:.3f}</title></image>"
        )
