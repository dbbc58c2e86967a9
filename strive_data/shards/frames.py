"""Stored frames: candidates of a video → JPEGs, and JPEGs → pixels.

Only JPEG is read, and its size is checked before anything is allocated.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import simplejpeg

from strive_data.config import MAX_FRAME_PIXELS
from strive_data.errors import DamagedError, FailureKind, SampleError
from strive_data.schema import Candidates, Frames, Times, VideoInfo

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


END_OF_IMAGE = b"\xff\xd9"

# Full chroma: stored frames are small, and halving their colour resolution again would blur small text.
CHROMA = "444"
ENCODERS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedFrames:
    """One video: times float64 [N] seconds, and the JPEGs of candidates, each encoded when first asked for.

    `frames` uint8 RGB [N, H, W, 3] are there while some are not encoded.
    """

    info: VideoInfo
    times: Times
    jpegs: dict[int, bytes] = field(default_factory=dict)
    frames: Frames | None = None
    quality: int = 90

    def jpegs_of(self, places: Iterable[int]) -> tuple[bytes, ...]:
        """JPEGs of these candidates, encoded in threads: the library frees the interpreter.

        Raises SampleError (encode_failed) for one that cannot be encoded.
        """
        wanted, frames = [int(place) for place in places], self.frames
        if frames is not None:
            missing = [place for place in dict.fromkeys(wanted) if place not in self.jpegs]
            with ThreadPoolExecutor(ENCODERS) as pool:
                done = pool.map(lambda place: encode_jpeg(frames[place], self.quality), missing)
                self.jpegs.update(zip(missing, done, strict=True))
        return tuple(self.jpegs[place] for place in wanted)


def encode_frames(candidates: Candidates, quality: int) -> EncodedFrames:
    """The encoded frames of decoded candidates."""
    return EncodedFrames(
        info=candidates.info, times=candidates.times, frames=candidates.frames, quality=quality
    )


def encode_jpeg(frame: Frames, quality: int) -> bytes:
    """JPEG of one uint8 RGB frame [H, W, 3]. Raises SampleError (encode_failed)."""
    try:
        encoded: bytes = simplejpeg.encode_jpeg(
            np.ascontiguousarray(frame), quality=quality, colorspace="RGB", colorsubsampling=CHROMA
        )
    except ValueError as error:
        raise SampleError(FailureKind.ENCODE_FAILED, f"frame of shape {frame.shape}: {error}") from error
    return encoded
