"""What a picture looks like from afar, as unit vectors: the coarse grey shapes of it and of its parts.

Our construction, after perceptual hashes: a frame is made 64×64 grey, and the lowest 8×8 frequencies of its
cosine transform, without the mean and the rest weighted by √frequency, are the descriptor. It does not change
with brightness, contrast, size, codec or bit rate. Cropping does change it, so a frame has one descriptor
for each of 31 views: itself, and parts of it (.85 and .7 of one side or of both, at the beginning, in the
middle and at the end); a cropped copy looks like one of the parts. No model and no network are needed.
Shapes: V views, S side of the small picture, B frequencies, D = B².
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from strive_data.schema import Floats, Frames

SIDE = 64
FREQUENCIES = 8
PARTS = (0.85, 0.7)
LEAST_CONTRAST = 4.0
"""Standard deviation in grey levels below which a view shows nothing: black frames are no match."""

Float64s = npt.NDArray[np.float64]
Interval = tuple[int, int]


def views() -> list[tuple[Interval, Interval]]:
    """(rows, columns) of each view as half-open intervals of the small picture; the first is all of it."""
    whole = (0, SIDE)
    found = [(whole, whole)]
    for part in PARTS:
        length = round(part * SIDE)
        starts = (0, (SIDE - length) // 2, SIDE - length)
        sides = [(start, start + length) for start in starts]
        found += [(whole, side) for side in sides] + [(side, whole) for side in sides]
        found += [(rows, columns) for rows in sides for columns in sides]
    return found


def describe(frame: Frames) -> Floats:
    """Descriptors float32 [V, D] of one frame, uint8 grey [H, W] or RGB [H, W, 3].

    Of unit length; all zeros where a view has less than LEAST_CONTRAST, so that it is like nothing.
    """
    picture = Image.fromarray(frame).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    levels_SS = np.asarray(picture, dtype=np.float64)
    rows = [_describe_view(levels_SS[slice(*rows), slice(*columns)]) for rows, columns in VIEWS]
    return np.stack(rows).astype(np.float32)


def _describe_view(levels: Float64s) -> Float64s:
    height, width = levels.shape
    waves_BB = COSINES[height] @ levels @ COSINES[width].T
    waves_BB[0, 0] = 0
    if np.linalg.norm(waves_BB) < LEAST_CONTRAST * np.sqrt(height * width):
        return np.zeros(FREQUENCIES**2)
    weighted_BB = waves_BB * WEIGHTS
    unit: Float64s = weighted_BB.ravel() / np.linalg.norm(weighted_BB)
    return unit


def cosines(length: int) -> Float64s:
    """The first rows [B, length] of the orthonormal cosine transform (DCT-II)."""
    rows = np.arange(FREQUENCIES)[:, None]
    waves = np.cos(np.pi * rows * (2 * np.arange(length) + 1) / (2 * length)) * np.sqrt(2 / length)
    waves[0] /= np.sqrt(2)
    return np.asarray(waves)


VIEWS = views()
COSINES = {length: cosines(length) for rows, _ in VIEWS for length in (rows[1] - rows[0],)}
WEIGHTS = np.sqrt(np.hypot(*np.meshgrid(np.arange(FREQUENCIES), np.arange(FREQUENCIES))))
