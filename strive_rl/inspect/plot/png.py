"""A chart as a picture, by Pillow: strokes drawn larger and scaled down to be smooth, then the text."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from strive_data.inspect.timeline import FONT_PIXELS, Point
from strive_rl.inspect.plot.chart import Chart

SCALE = 2  # pixels of the file for one of the chart
SMOOTH = 2  # and of the drawing for one of the file
ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def chart_image(chart: Chart) -> Image.Image:
    """RGB picture, `SCALE` times the size of the chart."""
    factor = SCALE * SMOOTH
    large = Image.new("RGB", (chart.width * factor, chart.height * factor), "white")
    draw = ImageDraw.Draw(large)
    for area in chart.areas:
        draw.polygon([_times(point, factor) for point in area.points], fill=area.colour)
    for line in chart.lines:
        places = [_times(point, factor) for point in line.points]
        draw.line(places, fill=line.colour, width=round(line.width * factor), joint="curve")
    for dot in chart.dots:
        draw.circle(_times(dot.centre, factor), dot.radius * factor, fill=dot.colour)
    image = large.resize((chart.width * SCALE, chart.height * SCALE), Image.Resampling.BOX)
    _write(image, chart)
    return image


def _write(image: Image.Image, chart: Chart) -> None:
    """Text in Pillow's own font; it has no bold cut, so bold is written twice, a pixel apart."""
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(FONT_PIXELS * SCALE)
    for label in chart.labels:
        x, y = _times((label.x, label.y), SCALE)
        for shift in (0, 1) if label.bold else (0,):
            draw.text((x - shift, y), label.text, fill=label.colour, font=font, anchor=ANCHORS[label.anchor])


def _times(point: Point, factor: int) -> Point:
    return point[0] * factor, point[1] * factor
