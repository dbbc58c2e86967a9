"""Decoded frames to stored pixels: the one scaler of all readers, and the final check of what survived."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation, VideoReformatter

from strive_data.config import DecodeSettings
from strive_data.decode.frame_times import shown_size, storage_size
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, Frames, Times, VideoInfo

SQUARE = Fraction(1)

# Bicubic widens its kernel when it shrinks, so it does not alias; the flags make its bits independent of
# the processor's vector units.
_INTERPOLATION = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)
# More threads would cost more than they bring at these sizes; the workers fill the cores.
_SCALING: dict[str, Any] = {"interpolation": _INTERPOLATION, "threads": 1}

# Scaled to planes, which are then joined: the same bits as "rgb24" at once in a third of the time, since
# FFmpeg scales to packed RGB with all of the chroma one value after the other.
_PLANES, _PIXELS = "gbrp", "rgb24"


class FrameStore:
    """Places for `count` frames of one video, filled in any order: uint8 RGB [count, H, W, 3].

    The first frame put in fixes the storage size; `shown_size` is its (width, height) as shown: pixels that
    are not square stretched, the file's rotation applied.
    """

    def __init__(self, count: int, settings: DecodeSettings) -> None:
        self._settings = settings
        self._scaler = VideoReformatter()  # keeps its tables from one frame to the next
        self._joiner = VideoReformatter()
        self._frames: Frames = np.empty((count, 0, 0, 3), dtype=np.uint8)
        self.filled: npt.NDArray[np.bool_] = np.zeros(count, dtype=np.bool_)
        self.shown_size = (0, 0)

    def put(self, slot: int, frame: Any, pixel_aspect: Fraction = SQUARE) -> None:
        """Scale an av.VideoFrame to its slot and turn it upright; `pixel_aspect` is width over height."""
        quarters = round(frame.rotation / 90) % 4
        if not self.filled.any():
            shown = shown_size(frame.width, frame.height, pixel_aspect)
            self._fix_size(_swapped(*shown, quarters))
        height, width = self._frames.shape[1:3]
        width, height = _swapped(width, height, quarters)
        scaled = self._scaler.reformat(frame, width=width, height=height, format=_PLANES, **_SCALING)
        packed = self._joiner.reformat(scaled, format=_PIXELS, threads=1)
        _copy_pixels(packed, np.rot90(self._frames[slot], -quarters))
        self.filled[slot] = True

    def survivors(self) -> Frames:
        """The frames that were put in, in the order of their slots."""
        return self._frames if self.filled.all() else self._frames[self.filled]

    def _fix_size(self, shown_size: tuple[int, int]) -> None:
        self.shown_size = shown_size
        width, height = storage_size(*shown_size, self._settings.max_pixels, self._settings.multiple)
        self._frames = np.empty((len(self.filled), height, width, 3), dtype=np.uint8)


def finish(path: Path, store: FrameStore, times: Times, info: VideoInfo) -> Candidates:
    """Candidates of the frames that survived; `times` float64 [count] are those of all slots.

    A lost frame is never replaced by its neighbour: its candidate is gone and counted. Raises SampleError:
    zero_frames if nothing survived, partial_decode if less than half did.
    """
    survived, wanted = int(store.filled.sum()), len(store.filled)
    if survived == 0:
        raise SampleError(FailureKind.ZERO_FRAMES, f"{path}: none of {wanted} wanted frames could be decoded")
    if 2 * survived < wanted:
        message = f"{path}: {survived} of {wanted} wanted frames could be decoded, at least half are needed"
        raise SampleError(FailureKind.PARTIAL_DECODE, message)
    return Candidates(info=info, frames=store.survivors(), times=times[store.filled])


def _copy_pixels(frame: Any, pixels: Frames) -> None:
    """Copy an "rgb24" frame into `pixels` [H, W, 3], which may be a view."""
    height, width, _ = pixels.shape
    plane = frame.planes[0]
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(height, plane.line_size)
    pixels[...] = rows[:, : 3 * width].reshape(height, width, 3)


def _swapped(width: int, height: int, quarters: int) -> tuple[int, int]:
    return (height, width) if quarters % 2 else (width, height)
