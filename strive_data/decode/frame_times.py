"""Times and sizes of the stored frames: pure arithmetic between decoding and everything after it.

Shapes: N candidate cells, P presented frames, I chosen frames (I <= N).
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from strive_data.schema import Times

ROUNDING_SECONDS = 1e-6
"""Times closer than this are the same: far below any time base, far above the rounding of sums of them."""


def cell_midpoints(duration_seconds: float, count: int) -> Times:
    """Midpoints of `count` equal cells of [0, duration): float64 [N] seconds, increasing.

    Raises ValueError unless the duration is positive and finite and there is at least one cell.
    """
    if not (math.isfinite(duration_seconds) and duration_seconds > 0):
        raise ValueError(f"duration: got {duration_seconds} s, expected a positive finite number of seconds")
    if count < 1:
        raise ValueError(f"count: got {count} cells, expected at least 1")
    return (np.arange(count, dtype=np.float64) + 0.5) * (duration_seconds / count)


def shown_frames(pts_seconds_P: Times, wanted_times_N: Times) -> npt.NDArray[np.int64]:
    """Frames on the screen at the wanted times: int64 [I] indices into `pts_seconds_P`, strictly increasing.

    The frame shown at time t is the last with pts <= t; before the first frame it is the first one. A time
    that meets a frame's own but for rounding (ROUNDING_SECONDS) gets that frame, in every container. A frame
    that several wanted times fall on is returned once, so a video with fewer frames than cells (short or
    slow) has I < N candidates. `pts_seconds_P` must be sorted and not empty, else ValueError.
    """
    if len(pts_seconds_P) == 0:
        raise ValueError("pts_seconds: got no frames, expected at least one")
    if np.any(np.diff(pts_seconds_P) < 0):
        raise ValueError("pts_seconds: got times out of order, expected them sorted")
    places = np.searchsorted(pts_seconds_P, wanted_times_N + ROUNDING_SECONDS, side="right") - 1
    return np.unique(np.maximum(places, 0)).astype(np.int64)


def shown_size(width: int, height: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """Size (width, height) at which a frame of `width`×`height` pixels, each `pixel_aspect` wide, is shown.

    The side that is short is stretched, as browsers do, so that no pixel is lost: width·aspect for wide
    pixels, height/aspect for narrow ones. Raises ValueError unless the aspect is positive.
    """
    if pixel_aspect <= 0:
        raise ValueError(f"pixel_aspect: got {pixel_aspect}, expected more than 0")
    if pixel_aspect >= 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)


def storage_size(width: int, height: int, max_pixels: int, multiple: int) -> tuple[int, int]:
    """Size (width, height) in which a frame is stored.

    Sides are multiples of `multiple`, both at least `multiple`, with width·height <= `max_pixels`; never
    larger than the source but up to the next multiple. Of the sizes next to the ideal one (the source,
    shrunk to `max_pixels` if it is larger) that which keeps the aspect best is taken, of equals the largest.
    Raises ValueError for sizes below 1 or `max_pixels` below multiple².
    """
    if width < 1 or height < 1:
        raise ValueError(f"size: got {width}×{height}, expected at least 1×1")
    if max_pixels < multiple**2:
        raise ValueError(f"max_pixels: got {max_pixels}, expected at least multiple² = {multiple**2}")
    aspect = width / height
    shrink = min(1.0, math.sqrt(max_pixels / (width * height)))
    most = (math.ceil(width / multiple), math.ceil(height / multiple))
    cells = max_pixels // multiple**2
    columns = _beside(width * shrink / multiple)
    rows = _beside(height * shrink / multiple)
    pairs = [(c, r) for c in columns for r in _beside(c / aspect)]
    pairs += [(c, r) for r in rows for c in _beside(r * aspect)]
    sizes = {_fit(c, r, most, cells) for c, r in pairs}
    best = min(
        sizes, key=lambda size: (round(abs(math.log(size[0] / size[1] / aspect)), 9), -size[0] * size[1])
    )
    return best[0] * multiple, best[1] * multiple


def _beside(ideal: float) -> tuple[int, int]:
    """The whole numbers at and above an ideal one that may be off by rounding, at least 1."""
    below = max(math.floor(ideal + 1e-9), 1)
    return below, below + 1


def _fit(columns: int, rows: int, most: tuple[int, int], cells: int) -> tuple[int, int]:
    """Clip to the source, then to the budget of cells by shortening the longer side."""
    columns, rows = min(columns, most[0]), min(rows, most[1])
    if columns * rows <= cells:
        return columns, rows
    if columns >= rows:
        return (cells // rows, rows) if rows <= cells else (1, cells)
    return (columns, cells // columns) if columns <= cells else (cells, 1)
