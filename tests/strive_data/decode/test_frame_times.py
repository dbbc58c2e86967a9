from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.decode.frame_times import cell_midpoints, shown_frames, shown_size, storage_size


def test_midpoints_by_hand() -> None:
    np.testing.assert_allclose(cell_midpoints(8.0, 4), [1.0, 3.0, 5.0, 7.0])
    np.testing.assert_allclose(cell_midpoints(3.0, 1), [1.5])


@pytest.mark.parametrize(("duration", "count"), [(0.0, 4), (-1.0, 4), (math.inf, 4), (math.nan, 4), (1.0, 0)])
def test_midpoints_refuse(duration: float, count: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        cell_midpoints(duration, count)


def test_shown_frames_by_hand() -> None:
    pts = np.array([0.5, 1.0, 2.0, 4.0])
    wanted = np.array([0.0, 0.7, 1.0, 1.999, 2.0, 3.9, 9.0])
    np.testing.assert_array_equal(shown_frames(pts, wanted), [0, 1, 2, 3])
    np.testing.assert_array_equal(shown_frames(pts, np.array([1.5, 3.0])), [1, 2])


def test_short_video_has_fewer_candidates_than_cells() -> None:
    pts = np.arange(5) / 25
    np.testing.assert_array_equal(shown_frames(pts, cell_midpoints(0.2, 64)), np.arange(5))


def test_a_midpoint_on_a_frame_is_that_frame_in_spite_of_rounding() -> None:
    pts = np.arange(90) * 512 * (1 / 12800)  # number 45 is at 1.8 s + 2e-16, the middle of five cells
    np.testing.assert_array_equal(shown_frames(pts, cell_midpoints(3.6, 5)), [9, 27, 45, 63, 81])


def test_shown_frames_refuses_disorder_and_nothing() -> None:
    with pytest.raises(ValueError, match="sorted"):
        shown_frames(np.array([1.0, 0.0]), np.array([0.5]))
    with pytest.raises(ValueError, match="no frames"):
        shown_frames(np.array([]), np.array([0.5]))


times = st.lists(st.integers(0, 1000), min_size=1, max_size=40).map(lambda t: np.array(sorted(t)) / 10)


@given(times, st.integers(1, 50))
def test_shown_frames_agrees_with_a_plain_search(pts: np.ndarray, count: int) -> None:
    wanted = cell_midpoints(max(float(pts[-1]), 0.1), count)
    chosen = shown_frames(pts, wanted)
    plain = {max((i for i in range(len(pts)) if pts[i] <= t + 1e-6), default=0) for t in wanted}
    assert chosen.tolist() == sorted(plain)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ((1920, 1080), (392, 224)),  # 1.75 for 1.778; 420×224 would be 1.875
        ((640, 360), (392, 224)),
        ((360, 640), (224, 392)),
        ((320, 240), (336, 252)),  # both sides up to the next multiple
        ((56, 28), (56, 28)),
        ((20, 20), (28, 28)),  # up to the next multiple only
        ((100000, 10), (3584, 28)),
    ],
)
def test_storage_size_by_hand(source: tuple[int, int], expected: tuple[int, int]) -> None:
    assert storage_size(*source, 128 * 28 * 28, 28) == expected


side = st.integers(1, 9000)


@given(side, side, st.integers(1, 600), st.sampled_from([1, 2, 14, 28, 32]))
def test_storage_size_properties(width: int, height: int, cells: int, multiple: int) -> None:
    stored = storage_size(width, height, cells * multiple**2, multiple)
    assert all(length >= multiple and length % multiple == 0 for length in stored)
    assert stored[0] * stored[1] <= cells * multiple**2
    assert stored[0] < width + multiple
    assert stored[1] < height + multiple
    assert storage_size(height, width, cells * multiple**2, multiple) == stored[::-1]


@given(st.integers(112, 4000), st.floats(0.4, 2.5))
def test_storage_size_keeps_the_aspect(width: int, aspect: float) -> None:
    height = max(round(width / aspect), 112)
    stored = storage_size(width, height, 128 * 28 * 28, 28)
    assert abs(math.log(stored[0] / stored[1] / (width / height))) < 0.13
    assert stored[0] * stored[1] >= 0.6 * min(width * height, 128 * 28 * 28)


@pytest.mark.parametrize(("size", "pixels"), [((0, 5), 784), ((5, 0), 784), ((5, 5), 783)])
def test_storage_size_refuses(size: tuple[int, int], pixels: int) -> None:
    with pytest.raises(ValueError, match="expected at least"):
        storage_size(*size, pixels, 28)


def test_shown_size_stretches_the_short_side_and_loses_no_pixel() -> None:
    assert shown_size(720, 576, Fraction(16, 11)) == (1047, 576)  # 4:3 shown as 16:9, PAL
    assert shown_size(720, 480, Fraction(8, 9)) == (720, 540)
    assert shown_size(171, 97, Fraction(1)) == (171, 97)
    with pytest.raises(ValueError, match="more than 0"):
        shown_size(10, 10, Fraction(0))
