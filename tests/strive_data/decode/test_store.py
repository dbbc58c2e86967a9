from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from strive_data.config import DecodeSettings
from strive_data.decode.pyav_reader import read_video
from strive_data.decode.store import UPRIGHT, FrameStore, Orientation, finish, orientation_of
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates
from tools.barcodes import CLOSED, Clip, encode, rewrite, with_matrix

TIMES = np.array([0.5, 1.5, 2.5, 3.5])


def finished(store: FrameStore) -> Candidates:
    return finish(
        Path("v"), store, TIMES, reader=("pyav", "1"), video_id="x", duration_seconds=4.0, decode_errors=2
    )


def picture(value: int, width: int = 112, height: int = 56) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.full((height, width, 3), value, np.uint8), format="rgb24")


def filled(*slots: int, count: int) -> FrameStore:
    store = FrameStore(count, DecodeSettings(multiple=28), orientation=UPRIGHT)
    for slot in slots:
        store.put(slot, picture(10 * slot))
    return store


def test_frames_keep_their_slots_and_lost_ones_leave_no_trace() -> None:
    got = finished(filled(3, 0, 2, count=4))
    assert got.frames.shape == (3, 56, 112, 3)
    assert got.frames[:, 0, 0, 0].tolist() == [0, 20, 30]
    assert got.times.tolist() == [0.5, 2.5, 3.5]
    assert (got.info.width, got.info.height, got.info.reader, got.info.decode_errors) == (112, 56, "pyav", 2)


def test_half_is_enough_and_less_is_not() -> None:
    assert len(finished(filled(0, 1, count=4)).frames) == 2
    with pytest.raises(SampleError) as caught:
        finished(filled(1, count=4))
    assert caught.value.kind is FailureKind.PARTIAL_DECODE
    with pytest.raises(SampleError) as caught:
        finished(filled(count=4))
    assert caught.value.kind is FailureKind.ZERO_FRAMES


def test_shrinking_averages_instead_of_skipping() -> None:
    stripes = np.zeros((448, 448, 3), np.uint8)
    stripes[:, ::2] = 200  # period of two pixels: a scaler that skips pixels shows black or white
    store = FrameStore(1, DecodeSettings(max_pixels=112 * 112), orientation=UPRIGHT)
    store.put(0, av.VideoFrame.from_ndarray(stripes, format="rgb24"))
    frame = store.survivors()[0]
    assert frame.shape == (112, 112, 3)
    assert np.abs(frame[:, 4:-4].astype(int) - 100).max() <= 6
    assert store.shown_size == (448, 448)


@pytest.mark.parametrize(
    ("pixel_aspect", "shown", "stored"),
    [
        (Fraction(2), (224, 56), (56, 224)),
        (Fraction(1, 2), (112, 112), (112, 112)),
        (Fraction(1), (112, 56), (56, 112)),
    ],
)
def test_pixels_that_are_not_square_are_stretched(
    pixel_aspect: Fraction, shown: tuple[int, int], stored: tuple[int, int]
) -> None:
    store = FrameStore(1, DecodeSettings(), pixel_aspect=pixel_aspect, orientation=UPRIGHT)
    store.put(0, picture(7))
    assert store.shown_size == shown
    assert store.survivors().shape == (1, *stored, 3)


@pytest.mark.parametrize(("pix_fmt", "size"), [("yuv420p", (171, 97)), ("yuv420p10le", (160, 96))])
def test_planes_hold_the_bits_of_packed_rgb(pix_fmt: str, size: tuple[int, int]) -> None:
    """The store scales to planes because that is faster; "rgb24" is what it must equal."""
    noise = np.random.default_rng(0).integers(0, 255, size=(size[1], size[0], 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=pix_fmt)
    store = FrameStore(1, DecodeSettings(max_pixels=84 * 56), orientation=UPRIGHT)
    store.put(0, frame)
    packed = frame.reformat(
        width=store.survivors().shape[2],
        height=store.survivors().shape[1],
        format="rgb24",
        interpolation=Interpolation.BICUBIC
        | Interpolation.ACCURATE_RND
        | Interpolation.BITEXACT
        | Interpolation.FULL_CHR_H_INT
        | Interpolation.FULL_CHR_H_INP,
    ).to_ndarray()
    np.testing.assert_array_equal(store.survivors()[0], packed)


def test_a_frame_that_cannot_be_scaled_fails_its_video_alone() -> None:
    store = filled(0, count=2)
    with pytest.raises(SampleError, match="a frame of 20000×1 pixels cannot be scaled to 112×56") as caught:
        store.put(1, picture(0, width=20000, height=1))
    assert caught.value.kind == FailureKind.NOT_MEDIA


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
    before, got = read_video(plain, SETTINGS), read_video(path, SETTINGS)
    np.testing.assert_array_equal(got.frames, SHOWN[rows](before.frames))
    assert (got.info.height, got.info.width) == got.frames.shape[1:3]
    assert got.info.video_id == before.info.video_id


@pytest.mark.parametrize("rows", NO_ORIENTATION, ids=str)
def test_what_is_no_orientation_is_upright(plain: Path, tmp_path: Path, rows: Rows) -> None:
    path = tmp_path / "zero.mp4"
    path.write_bytes(with_matrix(plain.read_bytes(), *rows))
    numbers = [round(65536 * number) for number in rows]
    assert orientation_of((*numbers[:2], 0, *numbers[2:], 0, 0, 0, 1 << 30)) is None
    before, got = read_video(plain, SETTINGS), read_video(path, SETTINGS)
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
        read_video(path, SETTINGS) for path in (source, rewrite(source, tmp_path / "turned.mp4", edit))
    )
    assert got.frames.shape[1:3] == shape
    expected = np.rot90(before.frames, axes=(1, 2)) if turned > 1 else before.frames
    np.testing.assert_array_equal(got.frames, expected)
