"""Decoded frames to stored pixels: upright, by the one scaler of all readers; a check of what survived.

A display matrix (ISO/IEC 14496-12, section 8.3.2, as FFmpeg stores it) sends the stored pixel (x, y) to
(a·x + c·y, b·x + d·y). FFmpeg turns pictures by it (its option `-autorotate`); so do players and browsers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from math import hypot, radians, tan
from pathlib import Path
from typing import Any

import av.error
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import ExifTags, Image

from strive_data.config import DecodeSettings
from strive_data.decode.frame_times import shown_size, storage_size
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, Frames, Times, VideoInfo

SQUARE = Fraction(1)

# What Pillow raises for damaged files, by format.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)

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

    `pixel_aspect` is width over height of a pixel. All frames get the same size: the first frame put in fixes
    it, `shown_size` is its (width, height) as shown, upright and with square pixels. They also get the same
    orientation, that of the second frame that `orient` has seen: a message in the stream may turn the first
    frame alone. Until it is known, frames wait.
    """

    def __init__(
        self,
        count: int,
        settings: DecodeSettings,
        *,
        pixel_aspect: Fraction = SQUARE,
        orientation: Orientation | None = None,
    ) -> None:
        self._settings = settings
        self._orientation = orientation
        self._seen: list[Orientation] = []
        self._waiting: list[tuple[int, Any]] = []
        self.pixel_aspect = pixel_aspect
        self._scaler = VideoReformatter()  # keeps its tables from one frame to the next
        self._joiner = VideoReformatter()
        self._frames: Frames = np.empty((count, 0, 0, 3), dtype=np.uint8)
        self.filled: npt.NDArray[np.bool_] = np.zeros(count, dtype=np.bool_)
        self.shown_size = (0, 0)

    def orient(self, frame: Any, packet: Any) -> None:
        """Learn the orientation from a frame that was decoded from a packet, stored or not."""
        if self._orientation is None:
            self._seen.append(frame_orientation(frame, packet) or UPRIGHT)
            if len(self._seen) == 2:
                self.flush()

    def put(self, slot: int, frame: Any) -> None:
        """Scale an av.VideoFrame to its slot and turn it upright, at once or when the orientation is
        known."""
        self.filled[slot] = True
        if self._orientation is None:
            self._waiting.append((slot, frame))
        else:
            self._write(slot, frame, self._orientation)

    def flush(self) -> None:
        """Settle on the orientation seen so far, and store the frames that wait for it."""
        self._orientation = self._orientation or (self._seen[-1] if self._seen else UPRIGHT)
        for slot, frame in self._waiting:
            self._write(slot, frame, self._orientation)
        self._waiting.clear()

    def _write(self, slot: int, frame: Any, orientation: Orientation) -> None:
        if not self.shown_size[0]:
            shown = shown_size(frame.width, frame.height, self.pixel_aspect)
            self.shown_size = orientation.size(*shown)
            limits = self._settings.max_pixels, self._settings.multiple
            width, height = storage_size(*self.shown_size, *limits)
            self._frames = np.empty((len(self.filled), height, width, 3), dtype=np.uint8)
        height, width = self._frames.shape[1:3]
        width, height = orientation.size(width, height)
        try:
            scaled = self._scaler.reformat(frame, width=width, height=height, format=_PLANES, **_SCALING)
        except av.error.FFmpegError as error:
            message = f"a frame of {frame.width}×{frame.height} pixels cannot be scaled to {width}×{height}"
            raise SampleError(FailureKind.NOT_MEDIA, message) from error
        plane: Any = self._joiner.reformat(scaled, format=_PIXELS, threads=1).planes[0]
        rows = np.frombuffer(plane, dtype=np.uint8).reshape(height, plane.line_size)
        pixels = orientation.as_stored(self._frames[slot])
        pixels[...] = rows[:, : 3 * width].reshape(height, width, 3)

    def survivors(self) -> Frames:
        """The frames that were put in, in the order of their slots."""
        return self._frames if self.filled.all() else self._frames[self.filled]


def finish(
    path: Path,
    store: FrameStore,
    times: Times,
    *,
    reader: tuple[str, str],
    video_id: str,
    duration_seconds: float,
    decode_errors: int = 0,
    discontinuities: int = 0,
) -> Candidates:
    """Candidates of the frames that survived; `times` float64 [count] are those of all slots, `reader` its
    name for the record and the version of the library behind it.

    A lost frame is never replaced by its neighbour: its candidate is gone and counted. Raises SampleError:
    zero_frames if nothing survived, partial_decode if less than half did.
    """
    survived, wanted = int(store.filled.sum()), len(store.filled)
    if survived == 0:
        raise SampleError(FailureKind.ZERO_FRAMES, f"{path}: none of {wanted} wanted frames could be decoded")
    if 2 * survived < wanted:
        message = f"{path}: {survived} of {wanted} wanted frames could be decoded, at least half are needed"
        raise SampleError(FailureKind.PARTIAL_DECODE, message)
    info = VideoInfo(
        video_id=video_id,
        duration_seconds=duration_seconds,
        width=store.shown_size[0],
        height=store.shown_size[1],
        reader=reader[0],
        reader_version=reader[1],
        decode_errors=decode_errors,
        discontinuities=discontinuities,
    )
    return Candidates(info=info, frames=store.survivors(), times=times[store.filled])


MAX_SKEW = tan(radians(1))
"""A matrix that is farther from a quarter turn than one degree is no orientation."""


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """Rows and columns exchanged first, then columns mirrored (`flip_x`) and rows mirrored (`flip_y`)."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def is_mirrored(self) -> bool:
        """Whether no rotation alone gives it."""
        return self.transpose ^ self.flip_x ^ self.flip_y

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Size (width, height) of an upright picture that is stored as `width`×`height`, or the reverse."""
        return (height, width) if self.transpose else (width, height)

    def as_stored(self, upright: Frames) -> Frames:
        """View of upright pixels [H, W, 3] in the order of the stored picture."""
        view = upright[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        return np.swapaxes(view, 0, 1) if self.transpose else view


UPRIGHT = Orientation()

UNIT = 1 << 16
"""One, in a display matrix."""


def orientation_of(matrix: tuple[int, ...] | None) -> Orientation | None:
    """Orientation of a display matrix [9], row by row; upright for no matrix, None for one that is no
    orientation.

    Scale and translation do not matter. Singular and skewed matrices, and rotations that are no quarter
    turns, are no orientations.
    """
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d = matrix[:5]
    if _is_axis(a, b) and _is_axis(d, c):
        return Orientation(flip_x=a < 0, flip_y=d < 0)
    if _is_axis(b, a) and _is_axis(c, d):
        return Orientation(transpose=True, flip_x=c < 0, flip_y=b < 0)
    return None


def frame_orientation(frame: Any, packet: Any) -> Orientation | None:
    """Orientation of a frame decoded from a packet; None if its display matrix is no orientation."""
    try:
        data = frame.side_data.get(Type.DISPLAYMATRIX)
    except ValueError:
        # PyAV 18 reads none where one is of a kind that it does not know: EXIF, which gave the matrix.
        return _exif_orientation(bytes(packet))
    return orientation_of(None if data is None else struct.unpack("=9i", bytes(data)))


def _exif_orientation(content: bytes) -> Orientation:
    try:
        with Image.open(BytesIO(content), formats=("JPEG", "PNG")) as picture:
            number = picture.getexif().get(ExifTags.Base.Orientation)
    except (*UNREADABLE, Image.DecompressionBombError):
        return UPRIGHT
    return Orientation(
        transpose=number in (5, 6, 7, 8), flip_x=number in (2, 3, 6, 7), flip_y=number in (3, 4, 7, 8)
    )


def _is_axis(along: int, across: int) -> bool:
    """Whether a row of the matrix follows one axis, but for rounding."""
    return abs(across) <= MAX_SKEW * hypot(along, across) and along != 0
