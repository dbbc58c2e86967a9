from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg

from strive_data.picture import GUTTER, MARGIN, MOST_THUMBNAIL, SVG, timeline_svg
from strive_data.sampling import encode_jpeg
from tests.strive_data.samples import a_sample

TAG = f"{{{SVG}}}"


def test_every_frame_taken_is_a_thumbnail_linked_to_its_moment() -> None:
    sample = a_sample()
    picture = ElementTree.fromstring(timeline_svg(sample))
    images = picture.findall(f"{TAG}image")
    assert len(images) == 2 * 4 + 4
    titles = [image.find(f"{TAG}title").text or "" for image in images]  # type: ignore[union-attr]
    wanted = [f"variant {m + 1}: {sample.times[i]:.2f} s" for m in range(2) for i in sample.variants[m]]
    assert [title.partition(", ")[0] for title in titles[:8]] == wanted
    width = float(picture.attrib["width"])
    starts = [float(path.attrib["d"][1:].split(",")[0]) for path in picture.findall(f"{TAG}path")]
    expected = [GUTTER + (width - GUTTER - MARGIN) * sample.times[i] / 10 for i in sample.variants[0]]
    assert starts[:4] == pytest.approx(expected, abs=0.06)


def test_the_evidence_is_shaded_over_its_seconds() -> None:
    picture = ElementTree.fromstring(timeline_svg(a_sample()))
    width = float(picture.attrib["width"])
    shade = picture.findall(f"{TAG}rect")[1]
    assert float(shade.attrib["x"]) == pytest.approx(GUTTER + (width - GUTTER - MARGIN) * 0.25, abs=0.06)
    assert float(shade.attrib["width"]) == pytest.approx((width - GUTTER - MARGIN) * 0.1, abs=0.06)


def test_a_flat_curve_and_one_frame_are_drawn() -> None:
    assert ElementTree.fromstring(timeline_svg(a_sample(count=1))).findall(f"{TAG}image")


def test_large_frames_are_embedded_small() -> None:
    sample = replace(
        a_sample(), jpegs=tuple(encode_jpeg(np.zeros((280, 560, 3), np.uint8), 90) for _ in range(10))
    )
    picture = ElementTree.fromstring(timeline_svg(sample))
    link = picture.findall(f"{TAG}image")[0].attrib["href"].removeprefix("data:image/jpeg;base64,")
    assert simplejpeg.decode_jpeg(b64decode(link)).shape == (MOST_THUMBNAIL, 2 * MOST_THUMBNAIL, 3)
