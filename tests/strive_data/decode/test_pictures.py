"""Pictures as the processors of the models read them: upright, without transparency, as one still."""

from __future__ import annotations

import errno
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.decode.pictures import folder_sha256, frame_files, picture_times, read_folder
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import TimedFolder
from tools.barcodes import draw, numbers_of

SETTINGS = DecodeSettings(candidates=6, multiple=1, max_pixels=1 << 20)
RED, GREEN, BLUE, WHITE = (230, 20, 20), (20, 200, 30), (20, 20, 240), (255, 255, 255)


def quarters(width: int = 64, height: int = 32) -> Image.Image:
    """Red and green above blue and white."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, WHITE
    return Image.fromarray(pixels)


def corners(frame: np.ndarray) -> list[tuple[int, ...]]:
    """Colours in the middles of the four quarters, row by row, as the nearest of the four."""
    height, width = frame.shape[:2]
    places = [(y, x) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    known = np.array([RED, GREEN, BLUE, WHITE])
    return [
        tuple(known[np.abs(known - frame[at].astype(int)).sum(axis=1).argmin()].tolist()) for at in places
    ]


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.png", "a.webp", "a.bmp"])
def test_a_picture_is_one_candidate_at_time_zero(tmp_path: Path, name: str) -> None:
    quarters().save(tmp_path / name)
    got = read_candidates(tmp_path / name, SETTINGS)
    assert got.frames.shape == (1, 32, 64, 3)
    assert corners(got.frames[0]) == [RED, GREEN, BLUE, WHITE]
    assert got.times.tolist() == [0.0]
    assert (got.info.duration_seconds, got.info.width, got.info.height) == (0.0, 64, 32)
    assert got.info.is_image
    assert not got.info.decode_errors


@pytest.mark.parametrize(
    ("orientation", "seen"),
    [(1, [RED, GREEN, BLUE, WHITE]), (3, [WHITE, BLUE, GREEN, RED]), (6, [BLUE, RED, WHITE, GREEN])],
)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_turned_picture_is_upright_alone_and_in_a_folder(
    tmp_path: Path, orientation: int, seen: list[tuple[int, ...]], suffix: str
) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    for number in range(3):
        quarters().save(tmp_path / f"{number}.{suffix}", exif=exif)
    alone = read_candidates(tmp_path / f"0.{suffix}", SETTINGS)
    folder = read_folder(tmp_path, SETTINGS, fps=1)
    assert corners(alone.frames[0]) == seen
    assert [corners(frame) for frame in folder.frames] == [seen] * 3
    assert (alone.info.width, alone.info.height) == ((32, 64) if orientation == 6 else (64, 32))


def test_the_size_is_the_stored_size(tmp_path: Path) -> None:
    quarters(640, 320).save(tmp_path / "a.png")
    settings = DecodeSettings(multiple=28, max_pixels=50 * 28 * 28)
    got = read_candidates(tmp_path / "a.png", settings)
    assert got.frames.shape == (1, 5 * 28, 10 * 28, 3)
    assert (got.info.width, got.info.height) == (640, 320)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "I;16", "1", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    name = "a.jpg" if mode == "CMYK" else "a.png"
    if mode == "I;16":
        picture = Image.fromarray(np.full((32, 64), 200 << 8, dtype=np.uint16))
    else:
        picture = Image.new("RGB", (64, 32), (200, 200, 200)).convert(mode)
    picture.save(tmp_path / name)
    frame = read_candidates(tmp_path / name, SETTINGS).frames[0]
    assert np.abs(frame.mean(axis=(0, 1)) - (200 if mode != "1" else frame.mean())).max() < 4


def test_transparent_places_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (64, 32), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert read_candidates(tmp_path / "a.png", SETTINGS).frames.min() == 255


def encoded(**options: Any) -> bytes:
    buffer = io.BytesIO()
    quarters(200, 100).save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", FailureKind.EMPTY),
        (b"no picture", FailureKind.NOT_MEDIA),
        (b"GIF89a" + bytes(50), FailureKind.NOT_MEDIA),
        (encoded()[:100], FailureKind.ZERO_FRAMES),
        (encoded(save_all=True, append_images=[quarters(200, 100).rotate(90)]), FailureKind.NOT_MEDIA),
        (None, FailureKind.MISSING),
    ],
)
def test_what_is_no_picture_is_refused_by_name(
    tmp_path: Path, content: bytes | None, kind: FailureKind
) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(SampleError, match=r"a\.png") as caught:
        read_candidates(tmp_path / "a.png", SETTINGS)
    assert caught.value.kind is kind


def test_a_large_picture_is_refused_by_its_header(tmp_path: Path) -> None:
    quarters().save(tmp_path / "a.png")
    with pytest.raises(SampleError, match=r"64×32 pixels.* 2047") as caught:
        read_candidates(tmp_path / "a.png", DecodeSettings(max_source_pixels=2047))
    assert caught.value.kind is FailureKind.OOM


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp"])
def test_damage_is_a_failure_and_no_crash(tmp_path: Path, name: str) -> None:
    """A few hundred cuts and flipped bytes: a picture, or a failure of the sample."""
    quarters().save(tmp_path / name)
    good, random = (tmp_path / name).read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        bad = bytearray(good[: random.integers(1, len(good) + 1)])
        for place in random.integers(0, len(bad), 3):
            bad[place] = random.integers(256)
        (tmp_path / name).write_bytes(bad)
        with suppress(SampleError):
            assert read_candidates(tmp_path / name, SETTINGS).frames.shape[0] == 1


@pytest.mark.parametrize("name", ["still.png", "clip"])
def test_a_picture_that_may_not_be_read_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A build goes on with the other videos; tests may run as root, who may read everything."""

    def denied(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    (tmp_path / "clip").mkdir()
    for path in (tmp_path / "still.png", tmp_path / "clip" / "0.png"):
        path.write_bytes(b"x")
    (tmp_path / "clip" / "fps.txt").write_text("1\n")
    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(SampleError, match=f"{name}: Permission denied") as caught:
        read_candidates(tmp_path / name, DecodeSettings())
    assert caught.value.kind == FailureKind.MISSING


def picture(number: int, codec: str, width: int = 160, height: int = 96) -> bytes:
    """A bar-coded picture as a file of the codec."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.framerate = width, height, 25
    encoder.pix_fmt = "yuvj420p" if codec == "mjpeg" else "rgb24"
    frame = av.VideoFrame.from_ndarray(draw(number, width, height), format="rgb24")
    packets = [*encoder.encode(frame.reformat(format=encoder.pix_fmt)), *encoder.encode(None)]
    return b"".join(map(bytes, packets))


def folder_of(folder: Path, numbers: range, name: str = "{:05d}.jpg") -> Path:
    folder.mkdir()
    codec = "png" if name.endswith("png") else "mjpeg"
    for number in numbers:
        (folder / name.format(number)).write_bytes(picture(number, codec))
    return folder


@pytest.mark.parametrize("name", ["{:05d}.jpg", "frame-{}.png", "clip7_{}.JPEG"])
def test_frames_are_those_shown_at_the_midpoints_of_the_cells(tmp_path: Path, name: str) -> None:
    """Numbers order the frames, not the alphabet."""
    got = read_folder(folder_of(tmp_path / "clip7", range(1, 25), name), SETTINGS, fps=2)
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
    _, times, seconds = picture_times(folder, fps=30)  # the times of the folder are the true ones
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
    ids = [read_folder(folder, SETTINGS, fps=fps).info.video_id for folder, fps in ((one, 1), (other, 2))]
    assert ids[0] == ids[1]
    (other / "x2.jpg").write_bytes(picture(9, "mjpeg"))
    assert read_folder(other, SETTINGS, fps=1).info.video_id != ids[0]


def test_damaged_pictures_are_lost_and_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", range(6), "{}.png")
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:40])
    (folder / "4.png").write_text("no picture")
    got = read_folder(folder, SETTINGS, fps=1)
    assert numbers_of(got.frames) == [0, 1, 3, 5]
    assert got.times.tolist() == [0, 1, 3, 5]
    assert got.info.decode_errors == 2


def test_a_missing_picture_is_lost_as_a_damaged_one(tmp_path: Path) -> None:
    """Later pictures keep their times; the hash of a cache entry follows the gap."""
    folder = folder_of(tmp_path / "a", range(6), "clip7_{}0.png")
    whole = read_folder(folder, SETTINGS, fps=2)
    assert whole.times.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    (folder / "clip7_20.png").unlink()
    got = read_folder(folder, SETTINGS, fps=2)
    assert numbers_of(got.frames) == [0, 1, 3, 4, 5]
    assert got.times.tolist() == [0, 0.5, 1.5, 2, 2.5]
    assert (got.info.decode_errors, got.info.duration_seconds) == (1, 3.0)
    digest = folder_sha256(folder, 2.0)
    (folder / "clip7_10.png").rename(folder / "clip7_20.png")
    assert read_folder(folder, SETTINGS, fps=2).times.tolist() == [0, 1, 1.5, 2, 2.5]
    assert folder_sha256(folder, 2.0) != digest
    (folder / "times.txt").write_text("0\n1\n2\n3\n4\n")
    assert read_folder(folder, SETTINGS).info.decode_errors == 0


def test_other_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", range(3))
    (folder / "notes.md").write_text("x")
    (folder / "sub.jpg").mkdir()
    assert [file.name for file in frame_files(folder)] == ["00000.jpg", "00001.jpg", "00002.jpg"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("notes.txt", "", "fps"),
        ("times.txt", "0\n1\n", "2 times for 3 frames"),
        ("times.txt", "0\n2\n1\n", "decrease"),
        ("times.txt", "0\nx\n1\n", "'x'"),
        ("times.txt", "0\nnan\n1\n", "no numbers"),
        ("fps.txt", "0", "0.0"),
        ("fps.txt", "1\n2", "one number"),
    ],
)
def test_unusable_times_say_what_is_expected(tmp_path: Path, name: str, text: str, says: str) -> None:
    folder = folder_of(tmp_path / "a", range(3))
    (folder / name).write_text(text)
    with pytest.raises(SampleError, match=says) as caught:
        read_candidates(folder, SETTINGS)
    assert caught.value.kind is FailureKind.NOT_MEDIA


def test_no_folder_and_no_pictures(tmp_path: Path) -> None:
    for path, kind in ((tmp_path / "none", FailureKind.MISSING), (tmp_path, FailureKind.EMPTY)):
        with pytest.raises(SampleError) as caught:
            read_folder(path, SETTINGS, fps=1)
        assert caught.value.kind is kind


def test_pictures_above_the_limit_are_not_decoded(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", range(3))
    with pytest.raises(SampleError) as caught:
        read_folder(folder, DecodeSettings(candidates=3, max_source_pixels=160 * 95), fps=1)
    assert caught.value.kind is FailureKind.ZERO_FRAMES


def test_pictures_of_several_sizes_are_no_video(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", range(4), "{:05d}.png")
    (folder / "00002.png").write_bytes(picture(2, "png", width=96, height=160))
    with pytest.raises(SampleError, match=r"00002\.png: .* 96×160 pixels in a folder of 160×96") as no:
        read_folder(folder, SETTINGS, fps=2)
    assert no.value.kind == FailureKind.NOT_MEDIA
