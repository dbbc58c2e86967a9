"""Stored frames → pixels: only JPEG, and its size is known and allowed before anything is allocated."""

from __future__ import annotations

from typing import Literal

import simplejpeg

from strive_data.errors import DamagedError
from strive_data.schema import MAX_FRAME_PIXELS, Frames

Colours = Literal["RGB", "GRAY"]


def jpeg_size(jpeg: bytes) -> tuple[int, int]:
    """(width, height) by the header. Raises DamagedError for no JPEG, or more than MAX_FRAME_PIXELS."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    except ValueError as error:
        raise DamagedError(f"a stored frame is not a JPEG image: {error}") from error
    if width * height > MAX_FRAME_PIXELS:
        raise DamagedError(
            f"a stored frame claims {width}×{height} pixels, more than the limit of {MAX_FRAME_PIXELS}: "
            "it is taken for an image bomb and not decoded"
        )
    return width, height


def decode_jpeg(jpeg: bytes, *, colours: Colours = "RGB") -> Frames:
    """Pixels uint8 [H, W, 3], or [H, W, 1] in grey. Raises DamagedError as `jpeg_size`, or for damage."""
    jpeg_size(jpeg)
    try:
        pixels: Frames = simplejpeg.decode_jpeg(jpeg, colorspace=colours)
    except ValueError as error:
        raise DamagedError(f"a stored frame is not a whole JPEG image: {error}") from error
    return pixels
