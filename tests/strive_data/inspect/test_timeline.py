from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from strive_data.errors import SettingsError, UsageError
from strive_data.inspect.timeline import (
    AXIS_HEIGHT,
    CONTROL_COLOUR,
    CURVE_HEIGHT,
    FRAMES_A_LINE,
    GUTTER,
    MARGIN,
    PIXELS_PER_INCH,
    WIDTH,
    frame_grid,
    timeline_figure,
    timeline_rows,
    write_plot,
)
from strive_data.schema import Sample
from tests.strive_data.made.builds import write_build
from tests.strive_data.made.samples import a_sample


def many_frames(count: int) -> Sample:
    everything = np.arange(count, dtype=np.int32)
    sample = a_sample(count=count, frames="all")
    return replace(sample, variants=everything[None], uniform=everything, stored=everything)


def test_a_row_has_its_frames_in_order_and_those_with_evidence_marked() -> None:
    """The evidence is from 2.5 to 3.5 s, and candidate i is at i + .5 s: both ends count."""
    sample = a_sample()
    rows = timeline_rows(sample)
    assert [row.name for row in rows] == ["variant 0", "variant 1", "uniform"]
    assert rows[-1].colour == CONTROL_COLOUR
    for row, candidates in zip(rows, [*sample.variants, sample.uniform], strict=True):
        assert [frame.candidate for frame in row.frames] == candidates.tolist()
        assert [frame.seconds for frame in row.frames] == (candidates + 0.5).tolist()
        assert [frame.evidence for frame in row.frames] == [i in (2, 3) for i in candidates]
        assert row.evidence_frames == sum(i in (2, 3) for i in candidates)


@pytest.mark.parametrize(
    ("count", "linked", "a_line", "lines"), [(4, True, 4, 1), (12, True, 12, 1), (40, False, 16, 3)]
)
def test_frames_keep_their_aspect_and_stay_within_the_picture(
    count: int, linked: bool, a_line: int, lines: int
) -> None:
    sample = many_frames(count)
    grid = frame_grid(sample, timeline_rows(sample))
    assert (grid.linked, grid.a_line, grid.lines) == (linked, a_line, lines)
    wide, high = grid.frame
    assert wide / high == pytest.approx(56 / 28)
    corners = [grid.corner(place, count) for place in range(count)]
    assert all(left >= GUTTER and left + wide <= WIDTH - MARGIN + 1e-9 for left, _ in corners)
    assert all(top + high < grid.row_height for _, top in corners)
    assert corners[1][0] - corners[0][0] == pytest.approx(grid.slot)
    assert grid.slot > wide
    if lines > 1:
        assert corners[FRAMES_A_LINE][1] - corners[0][1] > high


@pytest.mark.parametrize("count", [4, 20])
def test_each_frame_is_drawn_in_its_place(count: int) -> None:
    """The frames of the sample are of one grey each, ten times their index."""
    sample = many_frames(count)
    canvas = FigureCanvasAgg(timeline_figure(sample))
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    grid, top = frame_grid(sample, timeline_rows(sample)), MARGIN + CURVE_HEIGHT + AXIS_HEIGHT
    for row in range(2):
        for place in range(count):
            left, down = grid.corner(place, count)
            y, x = top + row * grid.row_height + down + grid.frame[1] / 2, left + grid.frame[0] / 2
            seen = pixels[round(y * PIXELS_PER_INCH), round(x * PIXELS_PER_INCH), :3]
            assert seen.tolist() == pytest.approx([10 * place] * 3, abs=2)


def test_the_curve_has_the_scores_the_evidence_and_a_dot_for_each_frame() -> None:
    sample = a_sample()
    curve, board = timeline_figure(sample).axes
    line, *dots = curve.lines
    np.testing.assert_array_equal(line.get_ydata(), sample.scores)
    assert [list(dot.get_xdata()) for dot in dots] == (sample.variants + 0.5).tolist()
    (span,) = curve.patches
    assert (span.get_x(), span.get_width()) == (2.5, 1.0)
    assert curve.get_xlim() == (0, 10)
    assert [text.get_text() for text in board.texts] == ["variant 0", "variant 1", "uniform"]
    assert len(board.patches) == len(board.images) == 12
    flat = replace(sample, scores=np.zeros(10, np.float32))
    assert len(timeline_figure(flat).axes) == 2
    assert len(timeline_figure(a_sample(count=1)).axes[1].images) == 3


def test_the_file_is_a_png_of_the_named_sample(tmp_path: Path) -> None:
    build = write_build(tmp_path / "b", [a_sample("1"), a_sample("2", count=12)])
    out = tmp_path / "new" / "p.png"
    size = write_plot(build, "2", out)
    with Image.open(out) as image:
        assert (image.format, image.size) == ("PNG", size)
    first = out.read_bytes()
    write_plot(build, "2", out)
    assert out.read_bytes() == first


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    build = write_build(tmp_path / "b", [a_sample("1")])
    with pytest.raises(UsageError, match=r"\.png"):
        write_plot(build, "1", tmp_path / "p.jpg")
    with pytest.raises(SettingsError, match="unknown sample '3'"):
        write_plot(build, "3", tmp_path / "p.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_plot(build, "1", tmp_path / "file" / "p.png")
