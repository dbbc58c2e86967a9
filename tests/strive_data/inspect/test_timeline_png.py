from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from strive_data.errors import SettingsError, UsageError
from strive_data.inspect.timeline import timeline
from strive_data.inspect.timeline_png import SCALE, timeline_image, write_plot
from tests.strive_data.builds import write_build
from tests.strive_data.samples import a_sample


def test_the_frames_of_the_layout_are_drawn_where_they_stand() -> None:
    """The frames of the sample are of one grey each, ten times their index."""
    sample = a_sample()
    layout, pixels = timeline(sample), np.asarray(timeline_image(sample))
    assert pixels.shape == (layout.height * SCALE, layout.width * SCALE, 3)
    wide, high = layout.thumbnail_size
    for place in layout.thumbnails:
        y, x = round((place.top + high / 2) * SCALE), round((place.left + wide / 2) * SCALE)
        assert pixels[y, x].tolist() == pytest.approx([10 * place.candidate] * 3, abs=2)


def test_dots_evidence_and_labels_are_drawn() -> None:
    sample = a_sample()
    layout, pixels = timeline(sample), np.asarray(timeline_image(sample))
    last = layout.dots[-1]
    x, y = (round(part * SCALE) for part in last.centre)
    assert "#{:02x}{:02x}{:02x}".format(*pixels[y, x]) == last.colour
    (box,) = layout.boxes
    inside = pixels[round(box.top * SCALE) + 2, round((box.left + box.width / 2) * SCALE)]
    assert inside.tolist() == [0xFF, 0xE9, 0xA8]
    for label in (item for item in layout.labels if item.anchor == "end"):
        ends = round(label.x * SCALE)
        around = pixels[round(label.y * SCALE) - 18 : round(label.y * SCALE) + 2, ends - 40 : ends]
        assert (around.min(axis=2) < 160).sum() > 30, label.text


def test_the_file_is_a_png_of_the_named_sample(tmp_path: Path) -> None:
    build = write_build(tmp_path / "b", [a_sample("1"), a_sample("2", count=12)])
    out = tmp_path / "new" / "p.png"
    size = write_plot(build, "2", out)
    with Image.open(out) as image:
        assert (image.format, image.size) == ("PNG", size)


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    build = write_build(tmp_path / "b", [a_sample("1")])
    with pytest.raises(UsageError, match=r"ends in \.png"):
        write_plot(build, "1", tmp_path / "p.jpg")
    with pytest.raises(SettingsError, match="unknown sample '3'"):
        write_plot(build, "3", tmp_path / "p.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_plot(build, "1", tmp_path / "file" / "p.png")
