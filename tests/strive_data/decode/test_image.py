"""Pictures as the processors of the models read them: upright, without transparency, as one still."""

from __future__ import annotations

import errno
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.decode.pictures import FrameFolderReader
from strive_data.errors import FailureKind, SampleError

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
    folder = FrameFolderReader(fps=1).read(tmp_path, SETTINGS)
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
