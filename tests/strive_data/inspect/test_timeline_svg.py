from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from base64 import b64decode
from dataclasses import replace

import numpy as np
import simplejpeg

from strive_data.inspect.timeline import MOST_THUMBNAIL, timeline
from strive_data.inspect.timeline_svg import SVG, thumbnail, timeline_svg
from strive_data.shards.frames import encode_jpeg
from tests.strive_data.samples import a_sample

TAG = f"{{{SVG}}}"


def test_each_distinct_frame_is_embedded_once_and_shown_wherever_it_was_taken() -> None:
    sample = a_sample()
    picture = ElementTree.fromstring(timeline_svg(sample))
    images = picture.findall(f"{TAG}defs/{TAG}image")
    distinct = np.union1d(sample.variants, sample.uniform)
    assert [image.attrib["id"] for image in images] == [f"1-f{i}" for i in distinct]
    for image, i in zip(images, distinct, strict=True):
        data = b64decode(image.attrib["href"].removeprefix("data:image/jpeg;base64,"))
        assert data == sample.jpegs_of(np.array([i]))[0]
    shown = [use.attrib["href"] for use in picture.findall(f"{TAG}use")]
    rows = [*sample.variants, sample.uniform]
    assert shown == [f"#1-f{i}" for row in rows for i in row]


def test_shapes_stand_where_the_layout_has_them() -> None:
    sample = a_sample()
    layout, picture = timeline(sample), ElementTree.fromstring(timeline_svg(sample))
    assert (picture.attrib["width"], picture.attrib["height"]) == (str(layout.width), str(layout.height))
    dots = picture.findall(f"{TAG}circle")
    assert [float(dot.attrib["cx"]) for dot in dots] == [round(dot.centre[0], 1) for dot in layout.dots]
    uses = picture.findall(f"{TAG}use")
    assert [float(use.attrib["x"]) for use in uses] == [round(t.left, 1) for t in layout.thumbnails]
    assert [use.findtext(f"{TAG}title") for use in uses] == [t.title for t in layout.thumbnails]
    assert [text.text for text in picture.findall(f"{TAG}text")] == [label.text for label in layout.labels]


def test_large_frames_are_embedded_at_twice_the_size_they_are_shown_in() -> None:
    sample = replace(
        a_sample(), jpegs=tuple(encode_jpeg(np.zeros((280, 560, 3), np.uint8), 90) for _ in range(10))
    )
    picture = ElementTree.fromstring(timeline_svg(sample))
    image = picture.findall(f"{TAG}defs/{TAG}image")[0]
    data = b64decode(image.attrib["href"].removeprefix("data:image/jpeg;base64,"))
    assert float(image.attrib["width"]) == round(MOST_THUMBNAIL * 0.94, 1) == 122.2
    assert simplejpeg.decode_jpeg(data).shape == (122, 244, 3)


def test_a_small_picture_keeps_its_bytes() -> None:
    jpeg = encode_jpeg(np.zeros((28, 56, 3), np.uint8), 90)
    assert thumbnail(jpeg, 56) is jpeg
    assert simplejpeg.decode_jpeg(thumbnail(jpeg, 20)).shape == (10, 20, 3)
