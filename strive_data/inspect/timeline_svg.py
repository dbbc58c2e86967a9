"""The time line of one sample as an SVG picture.

Pure: a sample in, text out. Each distinct frame is embedded once, as a small JPEG, and shown wherever a
variant took it, so that a page of many samples stays light.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from html import escape
from io import BytesIO

import numpy as np
from PIL import Image

from strive_data.inspect.timeline import FONT_PIXELS, Layout, timeline
from strive_data.schema import Sample
from strive_data.shards.frames import decode_jpeg, jpeg_size

SHARPNESS = 2  # pixels embedded for one shown, for fine screens
SVG = "http://www.w3.org/2000/svg"


def timeline_svg(sample: Sample) -> str:
    """SVG of one sample, as `layout.timeline` places it; ids begin with the sample's key."""
    layout = timeline(sample)
    size = f'viewBox="0 0 {layout.width} {layout.height}" width="{layout.width}" height="{layout.height}"'
    style = f"font:{FONT_PIXELS}px system-ui,sans-serif"
    return "".join(
        [
            f'<svg xmlns="{SVG}" {size} style="{style}" role="img" aria-label="time line">',
            f"<defs>{''.join(_frames(sample, layout))}</defs>",
            f'<rect width="{layout.width}" height="{layout.height}" fill="#fff"/>',
            *_shapes(layout),
            *_thumbnails(sample, layout),
            "</svg>",
        ]
    )


def thumbnail(jpeg: bytes, most_width: int) -> bytes:
    """The same picture, at most `most_width` pixels wide; the same bytes where it is small already."""
    if jpeg_size(jpeg)[0] <= most_width:
        return jpeg
    image = Image.fromarray(decode_jpeg(jpeg))
    height = max(round(image.height * most_width / image.width), 1)
    buffer = BytesIO()
    image.resize((most_width, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _frames(sample: Sample, layout: Layout) -> Iterator[str]:
    """Each distinct frame once, to be shown by <use>."""
    wide, high = layout.thumbnail_size
    taken = np.array(sorted({place.candidate for place in layout.thumbnails}), dtype=np.int32)
    for i, jpeg in zip(taken, sample.jpegs_of(taken), strict=True):
        source = "data:image/jpeg;base64," + b64encode(thumbnail(jpeg, round(SHARPNESS * wide))).decode()
        size = f'width="{wide:.1f}" height="{high:.1f}" preserveAspectRatio="none"'
        yield f'<image id="{_frame_id(sample, int(i))}" {size} href="{source}"/>'


def _shapes(layout: Layout) -> Iterator[str]:
    for box in layout.boxes:
        place = f'x="{box.left:.1f}" y="{box.top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
        yield f'<rect {place} fill="{box.colour}">{_title(box.title)}</rect>'
    for line in layout.lines:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line.points)
        yield f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="{line.width}"/>'
    for dot in layout.dots:
        x, y = dot.centre
        place = f'cx="{x:.1f}" cy="{y:.1f}" r="{dot.radius:.1f}"'
        yield f'<circle {place} fill="{dot.colour}">{_title(dot.title)}</circle>'
    for label in layout.labels:
        weight = ' font-weight="bold"' if label.bold else ""
        place = f'x="{label.x:.1f}" y="{label.y:.1f}" text-anchor="{label.anchor}"'
        yield f'<text {place} fill="{label.colour}"{weight}>{escape(label.text)}</text>'
    for link in layout.links:
        start, first, second, end = (f"{x:.1f},{y:.1f}" for x, y in link.controls)
        stroke = f'fill="none" stroke="{link.colour}" stroke-opacity=".55"'
        yield f'<path d="M{start} C{first} {second} {end}" {stroke}/>'


def _thumbnails(sample: Sample, layout: Layout) -> Iterator[str]:
    for place in layout.thumbnails:
        at = f'x="{place.left:.1f}" y="{place.top:.1f}"'
        yield f'<use href="#{_frame_id(sample, place.candidate)}" {at}>{_title(place.title)}</use>'


def _frame_id(sample: Sample, candidate: int) -> str:
    return f"{sample.key}-f{candidate}"


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"
