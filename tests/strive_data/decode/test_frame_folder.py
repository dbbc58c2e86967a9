from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.decode.pictures import FrameFolderReader, folder_sha256, frame_files, frame_times
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import TimedFolder
from tools.barcodes.clip import draw, numbers_of

SETTINGS = DecodeSettings(candidates=6, multiple=1, max_pixels=1 << 20)


def picture(number: int, codec: str, width: int = 160, height: int = 96) -> bytes:
    """A bar-coded picture as a file of the codec."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.framerate = width, height, 25
    encoder.pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb24"
    frame = av.VideoFrame.from_ndarray(draw(number, width, height), format="rgb24")
    return b"".join(
        map(bytes, [*encoder.encode(frame.reformat(format=encoder.pix_fmt)), *encoder.encode(None)])
    )


def folder_of(folder: Path, numbers: range, name: str = "{:05d}.jpg") -> Path:
    folder.mkdir()
    codec = "png" if name.endswith("png") else "mjpeg"
    for number in numbers:
        (folder / name.format(number)).write_bytes(picture(number, codec))
    return folder


@pytest.mark.parametrize("name", ["{:05d}.jpg", "frame-{}.png", "clip7_{}.JPEG"])
def test_frames_are_those_shown_at_the_midpoints_of_the_cells(tmp_path: Path, name: str) -> None:
    """Numbers order the frames, not the alphabet."""
    got = FrameFolderReader(fps=2).read(folder_of(tmp_path / "clip7", range(1, 25), name), SETTINGS)
    assert numbers_of(got.frames) == [3, 7, 11, 15, 19, 23]
    np.testing.assert_allclose(got.times, [1, 3, 5, 7, 9, 11])
    assert (got.info.duration_seconds, got.info.width, got.info.height) == (12.0, 160, 96)
    assert (got.info.reader, got.info.decode_errors, got.info.discontinuities) == ("frames", 0, 0)


def test_times_and_rates_of_the_folder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", range(4))
    (folder / "fps.txt").write_text("0.5\n")
    assert read_candidates(folder, SETTINGS).times.tolist() == [0, 2, 4, 6]
    (folder / "times.txt").write_text("10\n10.5\n13\n13.5\n")
    got = read_candidates(folder, SETTINGS)
    np.testing.assert_allclose(got.times, [0, 0.5, 3, 3.5])
    assert numbers_of(got.frames) == [0, 1, 2, 3]
    assert got.info.duration_seconds == 4.0
    times, seconds = frame_times(folder, 4, fps=30)  # the times of the folder are the true ones
    np.testing.assert_allclose(times, [0, 0.5, 3, 3.5])
    assert seconds == 4.0


def test_times_of_the_row_go_before_those_of_the_folder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", range(4))
    (folder / "times.txt").write_text("0\n1\n2\n3\n")
    got = read_candidates(TimedFolder(folder, frame_times=(5.0, 5.5, 7.0, 9.0)), SETTINGS)
    np.testing.assert_allclose(got.times, [0, 0.5, 2, 4])
    with pytest.raises(SampleError, match="2 times for 4 frames"):
        read_candidates(TimedFolder(folder, frame_times=(0.0, 1.0)), SETTINGS)
    (folder / "times.txt").unlink()
    assert read_candidates(TimedFolder(folder, fps=0.5), SETTINGS).times.tolist() == [0, 2, 4, 6]


def test_the_hash_of_a_folder_follows_pictures_and_times(tmp_path: Path) -> None:
    one, other = folder_of(tmp_path / "a", range(3)), folder_of(tmp_path / "b", range(3), "x{:d}.jpg")
    assert folder_sha256(one, 2.0) == folder_sha256(other, 2.0)
    hashes = {folder_sha256(one, 2.0), folder_sha256(one, 3.0), folder_sha256(one, None, (0, 1, 5))}
    (other / "x1.jpg").write_bytes(picture(9, "mjpeg"))
    assert len(hashes | {folder_sha256(other, 2.0)}) == 4


def test_identity_follows_the_pictures(tmp_path: Path) -> None:
    one, other = folder_of(tmp_path / "a", range(4)), folder_of(tmp_path / "b", range(4), "x{:d}.jpg")
    ids = [
        FrameFolderReader(fps=fps).read(folder, SETTINGS).info.video_id
        for folder, fps in ((one, 1), (other, 2))
    ]
    assert ids[0] == ids[1]
    (other / "x2.jpg").write_bytes(picture(9, "mjpeg"))
    assert FrameFolderReader(fps=1).read(other, SETTINGS).info.video_id != ids[0]


def test_damaged_pictures_are_lost_and_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", range(6), "{}.png")
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:40])
    (folder / "4.png").write_text("no picture")
    got = FrameFolderReader(fps=1).read(folder, SETTINGS)
    assert numbers_of(got.frames) == [0, 1, 3, 5]
    assert got.times.tolist() == [0, 1, 3, 5]
    assert got.info.decode_errors == 2


def test_other_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", range(3))
    (folder / "notes.md").write_text("x")
    (folder / "sub.jpg").mkdir()
    assert [file.name for file in frame_files(folder)] == ["00000.jpg", "00001.jpg", "00002.jpg"]


def without_times(folder: Path) -> None:
    pass


def times(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "times.txt").write_text(text) and None


def rate(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "fps.txt").write_text(text) and None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without_times, "fps"),
        (times("0\n1\n"), "2 times for 3 frames"),
        (times("0\n2\n1\n"), "decrease"),
        (times("0\nx\n1\n"), "'x'"),
        (times("0\nnan\n1\n"), "no numbers"),
        (rate("0"), "0.0"),
        (rate("1\n2"), "one number"),
    ],
)
def test_unusable_times_say_what_is_expected(
    tmp_path: Path, change: Callable[[Path], None], says: str
) -> None:
    folder = folder_of(tmp_path / "a", range(3))
    change(folder)
    with pytest.raises(SampleError, match=says) as caught:
        read_candidates(folder, SETTINGS)
    assert caught.value.kind is FailureKind.NOT_MEDIA


def test_no_folder_and_no_pictures(tmp_path: Path) -> None:
    for path, kind in ((tmp_path / "none", FailureKind.MISSING), (tmp_path, FailureKind.EMPTY)):
        with pytest.raises(SampleError) as caught:
            FrameFolderReader(fps=1).read(path, SETTINGS)
        assert caught.value.kind is kind


def test_pictures_above_the_limit_are_not_decoded(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", range(3))
    with pytest.raises(SampleError) as caught:
        FrameFolderReader(fps=1).read(folder, DecodeSettings(candidates=3, max_source_pixels=160 * 95))
    assert caught.value.kind is FailureKind.ZERO_FRAMES


def test_pictures_of_several_sizes_are_no_video(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", range(4), "{:05d}.png")
    (folder / "00002.png").write_bytes(picture(2, "png", width=96, height=160))
    with pytest.raises(
        SampleError, match=r"00002\.png: a picture of 96×160 pixels in a folder of 160×96"
    ) as no:
        FrameFolderReader(fps=2).read(folder, SETTINGS)
    assert no.value.kind == FailureKind.NOT_MEDIA
