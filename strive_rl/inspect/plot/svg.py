"""A chart as SVG. Pure: shapes in, text out."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from strive_data.inspect.timeline import FONT_PIXELS
from strive_rl.inspect.plot.chart import Chart

SVG = "http://www.w3.org/2000/svg"


def chart_svg(chart: Chart) -> str:
    """SVG that is as wide as it is given room for."""
    box = f'viewBox="0 0 {chart.width} {chart.height}"'
    style = f"font:{FONT_PIXELS}px system-ui,sans-serif;width:100%;height:auto;display:block"
    head = f'<svg xmlns="{SVG}" {box} style="{style}" role="img" aria-label="curves of runs">'
    return "".join([head, *_shapes(chart), "</svg>"])


def _shapes(chart: Chart) -> Iterator[str]:
    for area in chart.areas:
        yield f'<polygon points="{_points(area.points)}" fill="{area.colour}"/>'
    for line in chart.lines:
        stroke = f'stroke="{line.colour}" stroke-width="{line.width}" stroke-linejoin="round"'
        yield f'<polyline points="{_points(line.points)}" fill="none" {stroke}/>'
    for dot in chart.dots:
        x, y = dot.centre
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{dot.radius:.1f}" fill="{dot.colour}"/>'
    for label in chart.labels:
        weight = ' font-weight="bold"' if label.bold else ""
        place = f'x="{label.x:.1f}" y="{label.y:.1f}" text-anchor="{label.anchor}"'
        yield f'<text {place} fill="{label.colour}"{weight}>{escape(label.text)}</text>'


def _points(points: tuple[tuple[float, float], ...]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
