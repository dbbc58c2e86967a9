"""Display matrices: how a decoded picture is turned and mirrored to be upright. Pure but for `matrix_of`.

A display matrix (ISO/IEC 14496-12, section 8.3.2, as FFmpeg stores it) sends the stored pixel (x, y) to
(a·x + c·y, b·x + d·y). FFmpeg turns pictures by it (its option `-autorotate`); so do players and browsers.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import hypot, radians, tan
from typing import Any

import numpy as np
from av.sidedata.sidedata import Type

from strive_data.schema import Frames

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


def matrix_of(frame: Any) -> tuple[int, ...] | None:
    """Display matrix [9] of an av.VideoFrame, None if it has none."""
    try:
        data = frame.side_data.get(Type.DISPLAYMATRIX)
    except ValueError:  # PyAV 18 reads none where one is of a kind that it does not know (EXIF of a JPEG)
        return None
    return None if data is None else struct.unpack("=9i", bytes(data))


def _is_axis(along: int, across: int) -> bool:
    """Whether a row of the matrix follows one axis, but for rounding."""
    return abs(across) <= MAX_SKEW * hypot(along, across) and along != 0
