"""Pictures: a picture file is a sample of one still, a folder of JPEG or PNG files is a video.

Pictures are read as the processors of the models read them: turned upright by their EXIF orientation,
transparent places on white (as qwen-vl-utils does), 16-bit grey by its high byte, the rest by Pillow's
conversion to RGB. Only still formats on a list are opened, and the size is checked before a pixel is decoded.

The files of a folder are the frames, in the order of the numbers in their names. Their times are, first found
first:

- those that the caller gives (a column of the annotation);
- `times.txt` in the folder: one time in seconds a line, as many lines as files, not decreasing;
- the rate that the caller gives, or that `fps.txt` in the folder gives: frame n is shown at n / fps. Where
  one number differs in the names, it counts the frames (`picture_places`): a picture that is missing is lost
  as a damaged one is, and the others keep their times.

Times count from the first frame, as in every video.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL
from PIL import Image, ImageOps

from strive_data.common.files import PICTURE_SUFFIXES, RATE_FILE, TIMES_FILE, picture_order, picture_places
from strive_data.config import DecodeSettings
from strive_data.decode.frame_times import cell_midpoints, shown_frames
from strive_data.decode.media import decode
from strive_data.decode.store import UNREADABLE, UPRIGHT, FrameStore, finish
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import IMAGE_READER, Candidates, Frames, Times

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
# A phone's JPEG with a second picture in it, a depth map or a preview; the first one counts.
DOUBLE = "MPO"
DEEP_GREY = ("I", "I;16", "I;16B", "I;16L")


def read_image(path: Path, settings: DecodeSettings) -> Candidates:
    """A picture file as one candidate at 0 s, in a video that lasts 0 s; `video_id` hashes the file's bytes.

    Raises SampleError of kind missing, empty, not_media (no picture in a known format, or several pictures
    that move), oom (more than `max_source_pixels`) or zero_frames (damaged).
    """
    if not path.is_file():
        raise SampleError(FailureKind.MISSING, f"{path}: no such file")
    content = path.read_bytes()
    if not content:
        raise SampleError(FailureKind.EMPTY, f"{path}: the file has 0 bytes")
    pixels = upright_pixels(content, path, settings.max_source_pixels)
    store = FrameStore(1, settings, orientation=UPRIGHT)
    store.put(0, av.VideoFrame.from_ndarray(pixels, format="rgb24"))
    video_id, reader = sha256(b"image" + content).hexdigest()[:32], (IMAGE_READER, PIL.__version__)
    return finish(path, store, np.zeros(1), reader=reader, video_id=video_id, duration_seconds=0.0)


def upright_pixels(content: bytes, path: Path, most_pixels: int) -> Frames:
    """Pixels uint8 RGB [H, W, 3] of an encoded picture, upright. Raises SampleError as `read_image`."""
    with warnings.catch_warnings():
        # Pillow warns of large pictures; their limit is ours.
        warnings.simplefilter("ignore")
        try:
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise SampleError(FailureKind.OOM, f"{path}: {error}") from error
        except UNREADABLE as error:
            expected = "expected JPEG, PNG, WebP or BMP"
            raise SampleError(
                FailureKind.NOT_MEDIA, f"{path}: no picture that is read, {expected}"
            ) from error
        with picture:
            _check(picture, path, most_pixels)
            try:
                return np.ascontiguousarray(np.asarray(_rgb(ImageOps.exif_transpose(picture))))
            except UNREADABLE as error:
                message = f"{path}: the picture is damaged and cannot be decoded ({error})"
                raise SampleError(FailureKind.ZERO_FRAMES, message) from error


def _check(picture: Any, path: Path, most_pixels: int) -> None:
    width, height = picture.size
    if width * height > most_pixels:
        size = f"{width}×{height}"
        message = f"{path}: a picture of {size} pixels, more than decode.max_source_pixels = {most_pixels}"
        raise SampleError(FailureKind.OOM, message)
    if picture.format != DOUBLE and getattr(picture, "is_animated", False):
        message = f"{path}: {picture.n_frames} pictures that move, expected one still: make a video of it"
        raise SampleError(FailureKind.NOT_MEDIA, message)


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in DEEP_GREY:
        return Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        white = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, seen).convert("RGB")
    return picture.convert("RGB")


MAX_TEXT_BYTES = 1 << 24

EXIF_WITHIN_BYTES = 1 << 16
_EXIF = (b"Exif\0\0", b"eXIf")
_CODECS = {b"\xff\xd8\xff": "mjpeg", b"\x89PNG": "png"}


def read_folder(
    path: Path, settings: DecodeSettings, *, fps: float | None = None, times: Sequence[float] = ()
) -> Candidates:
    """A folder of pictures as a video, with candidates at the midpoints of equal cells.

    `fps` is its rate where the folder gives no times, `times` are the times of its pictures, which go before
    those of the folder. `video_id` hashes the pictures in their order, not their names or times. A picture
    that cannot be decoded, is missing, or has more than `max_source_pixels`, is lost and counted. Raises
    SampleError of kind missing (no folder), empty (no pictures), not_media (no times, unusable ones, or
    pictures of several sizes), zero_frames or partial_decode.
    """
    pictures, starts, duration_seconds = frame_times(path, fps, times)
    chosen = shown_frames(starts, cell_midpoints(duration_seconds, settings.candidates))
    store = FrameStore(len(chosen), settings, orientation=UPRIGHT)
    sizes = list[tuple[int, int]]()
    for slot, number in enumerate(chosen.tolist()):
        file = pictures[number]
        frame = _decode(file, settings.max_source_pixels) if file else None
        if file and frame is not None:
            sizes.append((frame.width, frame.height))
            if sizes[-1] != sizes[0]:  # it would be stretched to the size of the first
                (width, height), (wide, high) = sizes[-1], sizes[0]
                raise _unusable(
                    file,
                    f"a picture of {width}×{height} pixels in a folder of {wide}×{high}; expected one size: "
                    "scale the pictures, or put them into folders of their own",
                )
            store.put(slot, frame)
    return finish(
        path,
        store,
        starts[chosen],
        reader=("frames", av.__version__),
        video_id=_identity([file for file in pictures if file]),
        duration_seconds=duration_seconds,
        decode_errors=int((~store.filled).sum()),
    )


def frame_files(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of the numbers in their names, then of the names."""
    if not folder.is_dir():
        raise SampleError(FailureKind.MISSING, f"{folder}: no such folder")
    files = [file for file in folder.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES and file.is_file()]
    if not files:
        raise SampleError(
            FailureKind.EMPTY, f"{folder}: no frames in it ({', '.join(sorted(PICTURE_SUFFIXES))})"
        )
    return sorted(files, key=lambda file: picture_order(file.name))


def frame_times(
    folder: Path, fps: float | None = None, given: Sequence[float] = ()
) -> tuple[list[Path | None], Times, float]:
    """The frames of a folder, None for one whose picture is missing; their times in seconds from the first,
    float64 [frames]; and the duration in seconds.

    The last frame lasts as long as the typical one.
    """
    files: list[Path | None] = [*(pictures := frame_files(folder))]
    count = len(files)
    file = folder / TIMES_FILE
    if given or file.is_file():
        times = np.array(given or _numbers(file), dtype=np.float64)
        if given:
            file = folder  # a message does not name a file that was not read
        if len(times) != count:
            raise _unusable(file, f"{len(times)} times for {count} frames")
        if not np.isfinite(times).all() or np.any(np.diff(times) < 0):
            raise _unusable(file, "times that decrease or are no numbers, expected seconds in order")
        steps = np.diff(np.unique(times))
        last = float(np.median(steps)) if len(steps) else 1.0
        return files, times - times[0], float(times[-1] - times[0]) + last
    rate = fps if fps is not None else _rate(folder)
    if not (math.isfinite(rate) and rate > 0):
        raise _unusable(folder, f"a rate of {rate} frames a second, expected a positive number")
    if places := picture_places([picture.name for picture in pictures]):
        there = dict(zip(places, pictures, strict=True))
        files = [there.get(place) for place in range(places[-1] + 1)]
    return files, np.arange(len(files), dtype=np.float64) / rate, len(files) / rate


def picture_times(
    folder: Path, fps: float | None = None, given: Sequence[float] = ()
) -> tuple[list[Path], Times, float]:
    """`frame_times` of the pictures that are there."""
    frames, times, seconds = frame_times(folder, fps, given)
    return [file for file in frames if file], times[[file is not None for file in frames]], seconds


def _rate(folder: Path) -> float:
    file = folder / RATE_FILE
    numbers = _numbers(file) if file.is_file() else []
    if len(numbers) != 1:
        raise _unusable(
            folder, f"no times; give a rate (a column fps, or one number in {RATE_FILE}), or {TIMES_FILE}"
        )
    return numbers[0]


def _numbers(file: Path) -> list[float]:
    """The numbers of a text file, one a line."""
    with file.open("rb") as opened:
        content = opened.read(MAX_TEXT_BYTES)
    try:
        return [float(line) for line in content.decode("utf-8-sig").split("\n") if line.strip()]
    except ValueError as error:
        raise _unusable(file, f"{error}, expected one number a line") from error


def _unusable(path: Path, what: str) -> SampleError:
    return SampleError(FailureKind.NOT_MEDIA, f"{path}: {what}")


def folder_sha256(folder: Path, fps: float | None = None, given: Sequence[float] = ()) -> str:
    """Hash of the pictures of a folder and of their times. Raises SampleError as `read_folder`."""
    files, times, seconds = picture_times(folder, fps, given)
    return sha256(_identity(files).encode() + times.tobytes() + repr(seconds).encode()).hexdigest()


def _identity(files: list[Path]) -> str:
    digest = sha256(b"frames")
    for file in files:
        content = file.read_bytes()
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:32]


def _decode(file: Path, most_pixels: int) -> Any:
    """The picture of a file as an av.VideoFrame, None if it is damaged; by its bytes, whatever its name."""
    content = file.read_bytes()
    name = next((codec for magic, codec in _CODECS.items() if content.startswith(magic)), None)
    if name is None:
        return None
    if any(mark in content[:EXIF_WITHIN_BYTES] for mark in _EXIF):
        # FFmpeg gives EXIF as side data that PyAV 18 cannot read, so a turned picture would not be turned.
        try:
            return av.VideoFrame.from_ndarray(upright_pixels(content, file, most_pixels), format="rgb24")
        except SampleError:
            return None
    codec = av.CodecContext.create(name, "r")
    codec.thread_count = 1
    codec.options = {"max_pixels": str(most_pixels), "err_detect": "explode"}
    frames = [*decode(codec, av.Packet(content)), *decode(codec, None)]
    return frames[0] if frames and not frames[0].is_corrupt else None
