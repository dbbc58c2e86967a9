"""The time line of one sample as a PNG, drawn with Pillow from the layout that the SVG has too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from strive_data.common.settings import choose
from strive_data.errors import UsageError
from strive_data.inspect.timeline import FONT_PIXELS, Label, Layout, Link, Point, timeline
from strive_data.schema import Sample
from strive_data.shards.frames import decode_jpeg
from strive_data.shards.reader import ShardSet

SCALE = 2  # pixels of the file for one of the layout, so that labels stay sharp in print
LINK_OPACITY = 0.55
CURVE_POINTS = 32
ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def write_plot(build: Path, sample_id: str, out: Path) -> tuple[int, int]:
    """Write the time line of one sample to `out`; returns its width and height in pixels.

    Raises UsageError for an unknown sample, a name that does not end in .png and a file that cannot be
    written.
    """
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: expected a name that ends in .png")
    shards = ShardSet.open(build)
    position = shards.sample_ids.index(choose(sample_id, shards.sample_ids, "sample"))
    image = timeline_image(shards.read(position))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        image.save(out, "PNG")
    except OSError as error:
        raise UsageError(f"--out {out}: cannot write: {error.strerror or error}") from error
    return image.size


def timeline_image(sample: Sample) -> Image.Image:
    """RGB picture of one sample, `SCALE` times the size of `layout.timeline`."""
    layout = timeline(sample)
    image = Image.new("RGB", (layout.width * SCALE, layout.height * SCALE), "white")
    draw = ImageDraw.Draw(image)
    for box in layout.boxes:
        corner = (box.left + box.width, box.top + box.height)
        draw.rectangle([*_scaled((box.left, box.top)), *_scaled(corner)], fill=box.colour)
    for line in layout.lines:
        width = round(line.width * SCALE)
        draw.line([_scaled(point) for point in line.points], fill=line.colour, width=width, joint="curve")
    for dot in layout.dots:
        draw.circle(_scaled(dot.centre), dot.radius * SCALE, fill=dot.colour)
    for label in layout.labels:
        _write(draw, label)
    for link in layout.links:
        draw.line(_curve(link), fill=_over_white(link.colour), width=SCALE, joint="curve")
    _paste_thumbnails(image, sample, layout)
    return image


def _write(draw: ImageDraw.ImageDraw, label: Label) -> None:
    """Text in Pillow's own font; it has no bold cut, so bold is written twice, a pixel apart."""
    font = ImageFont.load_default(FONT_PIXELS * SCALE)
    x, y = _scaled((label.x, label.y))
    for shift in (0, 1) if label.bold else (0,):
        draw.text((x - shift, y), label.text, fill=label.colour, font=font, anchor=ANCHORS[label.anchor])


def _paste_thumbnails(image: Image.Image, sample: Sample, layout: Layout) -> None:
    wide, high = layout.thumbnail_size
    size = (max(round(wide * SCALE), 1), max(round(high * SCALE), 1))
    taken = np.array(sorted({place.candidate for place in layout.thumbnails}), dtype=np.int32)
    frames = {
        int(i): Image.fromarray(decode_jpeg(jpeg)).resize(size)
        for i, jpeg in zip(taken, sample.jpegs_of(taken), strict=True)
    }
    for place in layout.thumbnails:
        left, top = _scaled((place.left, place.top))
        image.paste(frames[place.candidate], (round(left), round(top)))


def _curve(link: Link) -> list[Point]:
    """Points of the cubic Bézier curve of a link."""
    t_P1 = np.linspace(0, 1, CURVE_POINTS)[:, None]
    start, first, second, end = (np.array(_scaled(control)) for control in link.controls)
    u_P1 = 1 - t_P1
    curve_P2 = u_P1**3 * start + 3 * u_P1**2 * t_P1 * first + 3 * u_P1 * t_P1**2 * second + t_P1**3 * end
    return [(float(x), float(y)) for x, y in curve_P2]


def _over_white(colour: str) -> tuple[int, ...]:
    """The colour that a half transparent stroke has on the white ground."""
    return tuple(round(255 + (part - 255) * LINK_OPACITY) for part in ImageColor.getrgb(colour))


def _scaled(point: Point) -> Point:
    return point[0] * SCALE, point[1] * SCALE
