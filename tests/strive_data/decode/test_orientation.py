from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode.pyav_reader import PyavReader
from strive_data.decode.store import UPRIGHT, Orientation, orientation_of
from tools.barcodes.clip import Clip, encode
from tools.barcodes.corpus import CLOSED
from tools.barcodes.edits import rewrite, with_matrix

Rows = tuple[float, float, float, float]
SETTINGS = DecodeSettings(candidates=4, multiple=1, max_pixels=1 << 20)

# The eight orientations as players show them, by what they do to pixels [N, H, W, 3].
SHOWN = {
    (1, 0, 0, 1): lambda p: p,
    (-1, 0, 0, -1): lambda p: p[:, ::-1, ::-1],
    (-1, 0, 0, 1): lambda p: p[:, :, ::-1],
    (1, 0, 0, -1): lambda p: p[:, ::-1],
    (0, 1, -1, 0): lambda p: np.rot90(p, -1, axes=(1, 2)),  # clockwise
    (0, -1, 1, 0): lambda p: np.rot90(p, 1, axes=(1, 2)),
    (0, 1, 1, 0): lambda p: np.swapaxes(p, 1, 2),
    (0, -1, -1, 0): lambda p: np.swapaxes(p, 1, 2)[:, ::-1, ::-1],
}
NO_ORIENTATION = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 1), (0.707, 0.707, -0.707, 0.707), (1, 0.5, 0, 1)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(CLOSED, tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("rows", SHOWN, ids=str)
def test_pictures_are_turned_and_mirrored_by_the_whole_matrix(
    plain: Path, tmp_path: Path, rows: Rows
) -> None:
    path = tmp_path / "turned.mp4"
    path.write_bytes(with_matrix(plain.read_bytes(), *rows))
    before, got = PyavReader().read(plain, SETTINGS), PyavReader().read(path, SETTINGS)
    np.testing.assert_array_equal(got.frames, SHOWN[rows](before.frames))
    assert (got.info.height, got.info.width) == got.frames.shape[1:3]
    assert got.info.video_id == before.info.video_id


@pytest.mark.parametrize("rows", NO_ORIENTATION, ids=str)
def test_what_is_no_orientation_is_upright(plain: Path, tmp_path: Path, rows: Rows) -> None:
    path = tmp_path / "zero.mp4"
    path.write_bytes(with_matrix(plain.read_bytes(), *rows))
    numbers = [round(65536 * number) for number in rows]
    assert orientation_of((*numbers[:2], 0, *numbers[2:], 0, 0, 0, 1 << 30)) is None
    before, got = PyavReader().read(plain, SETTINGS), PyavReader().read(path, SETTINGS)
    if rows != (1, 0.5, 0, 1):  # FFmpeg reads other pixel sizes out of this one
        np.testing.assert_array_equal(got.frames, before.frames)


def test_scale_rounding_and_place_of_a_matrix_do_not_matter() -> None:
    assert orientation_of((130, 7, 0, -5, 140, 0, 900, -900, 1)) is None
    assert orientation_of((13_000, 70, 0, -50, 14_000, 0, 900, -900, 1)) == UPRIGHT
    assert orientation_of((100, 90_000, 0, -90_000, -100, 0, 0, 0, 1)) == Orientation(
        transpose=True, flip_x=True
    )
    assert orientation_of(None) == UPRIGHT


def orientation_message() -> bytes:
    """An H.264 message (SEI 47): not mirrored, turned by 90°, for this picture alone (section D.1.27)."""
    bits = f"{0:01b}{0:01b}{0:01b}{16384:016b}{1:01b}{0:01b}1"  # the last: stop bit of the payload
    payload = int(bits.ljust(24, "0"), 2).to_bytes(3, "big")
    return b"\x06\x2f\x03" + payload + b"\x80"


@pytest.mark.parametrize(("turned", "shape"), [(1, (96, 160)), (90, (160, 96))])
def test_a_file_has_one_shape_that_of_all_but_the_first_picture(
    tmp_path: Path, turned: int, shape: tuple[int, int]
) -> None:
    message = orientation_message()

    def edit(place: int, data: bytes) -> bytes:
        return len(message).to_bytes(4, "big") + message + data if place < turned else data

    source = encode(Clip(name="a.mp4", options=CLOSED.options), tmp_path)
    before, got = (
        PyavReader().read(path, SETTINGS) for path in (source, rewrite(source, tmp_path / "turned.mp4", edit))
    )
    assert got.frames.shape[1:3] == shape
    expected = np.rot90(before.frames, axes=(1, 2)) if turned > 1 else before.frames
    np.testing.assert_array_equal(got.frames, expected)
