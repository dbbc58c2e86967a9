"""Images: a picture file is a sample of one still.

Pictures are read as the processors of the models read them: turned upright by their EXIF orientation,
transparent places on white (as qwen-vl-utils does), 16-bit grey by its high byte, the rest by Pillow's
conversion to RGB. Only still formats on a list are opened, and the size is checked before a pixel is decoded.
"""

from __future__ import annotations

import io
import struct
import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL
from PIL import Image, ImageOps

from strive_data.config import DecodeSettings
from strive_data.decode.store import FrameStore, finish
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import IMAGE_READER, Candidates, Frames, VideoInfo

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
# A phone's JPEG with a second picture in it, a depth map or a preview; the first one counts.
DOUBLE = "MPO"
DEEP_GREY = ("I", "I;16", "I;16B", "I;16L")

# What Pillow raises for damaged files, by format.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)


class ImageReader:
    """Reads a picture file as one candidate at 0 s, in a video that lasts 0 s."""

    name = IMAGE_READER
    version = PIL.__version__

    def read(self, path: Path, settings: DecodeSettings) -> Candidates:
        """One candidate in `storage_size`; `video_id` hashes the file's bytes.

        Raises SampleError of kind missing, empty, not_media (no picture in a known format, or several
        pictures that move), oom (more than `max_source_pixels`) or zero_frames (damaged).
        """
        if not path.is_file():
            raise SampleError(FailureKind.MISSING, f"{path}: no such file")
        content = path.read_bytes()
        if not content:
            raise SampleError(FailureKind.EMPTY, f"{path}: the file has 0 bytes")
        store = FrameStore(1, settings)
        store.put(
            0,
            av.VideoFrame.from_ndarray(
                upright_pixels(content, path, settings.max_source_pixels), format="rgb24"
            ),
        )
        store.flush()
        info = VideoInfo(
            video_id=sha256(b"image" + content).hexdigest()[:32],
            duration_seconds=0.0,
            width=store.shown_size[0],
            height=store.shown_size[1],
            reader=self.name,
            reader_version=self.version,
        )
        return finish(path, store, np.zeros(1), info)


def upright_pixels(content: bytes, path: Path, most_pixels: int) -> Frames:
    """Pixels uint8 RGB [H, W, 3] of an encoded picture, upright. Raises SampleError as `ImageReader.read`."""
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
