"""Three-axis position ids of a prompt with one video.

Shape letters: L tokens of the prompt, T temporal patches (merged frame pairs), H×W merged patches of a frame
pair. Axes of the first dimension: temporal, height, width.

`video_positions` and `prompt_positions` are Qwen2.5-VL's, from the true times of the frames. They differ from
transformers' `get_rope_index` on purpose: it spaces all temporal patches by one interval and
lets the text after a video continue from the spatial extent; here every patch has its own time and the text
continues from the largest position in use, as the released weights were trained. `stamped_positions` are
Qwen3-VL's, equal to its `get_rope_index`: the times are in the text.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from strive_data.schema import Times

Ids = npt.NDArray[np.int64]

TEXT_AXES = 3


def video_positions(times_T: Times, height: int, width: int, tokens_per_second: float) -> Ids:
    """Positions of a video's T·H·W tokens, counted from 0: int64 [3, T·H·W], width runs fastest.

    The temporal ones are round((t_i − t_0)·tokens_per_second), halves rounded up.
    """
    scaled = (np.asarray(times_T, dtype=np.float64) - times_T[0]) * tokens_per_second
    temporal = np.floor(scaled + 0.5).astype(np.int64)
    grid = np.meshgrid(temporal, np.arange(height), np.arange(width), indexing="ij")
    return np.stack(grid).reshape(TEXT_AXES, -1).astype(np.int64)


def prompt_positions(is_video_L: npt.NDArray[np.bool_], video_3N: Ids) -> Ids:
    """Positions of text, one video, text: int64 [3, L].

    `is_video_L` marks one run of video tokens, as many as `video_3N` has columns (ValueError otherwise). Text
    counts up by one on all axes; what follows the video starts at the largest position so far plus one.
    """
    slots = np.flatnonzero(is_video_L)
    first, count = (int(slots[0]), len(slots)) if len(slots) else (0, 0)
    if count != video_3N.shape[1] or (count and slots[-1] - first + 1 != count):
        raise ValueError(f"video tokens: got {count}, expected one run of {video_3N.shape[1]}")
    before = _text(0, first)
    video = video_3N + first
    start = int(max(before.max(initial=-1), video.max(initial=-1))) + 1
    return np.concatenate([before, video, _text(start, len(is_video_L) - first - count)], axis=1)


def stamped_positions(is_video_L: npt.NDArray[np.bool_], grid: tuple[int, int, int]) -> Ids:
    """Positions of text in which each of T temporal patches is one run of H·W video tokens: int64 [3, L].

    `grid` is (T, H, W). Text counts up by one on all axes. A patch at s has (s, s + row, s + column),
    and what follows starts at s + max(H, W). ValueError where the marks are not T runs of H·W.
    """
    patches, height, width = grid
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_video_L.astype(np.int8), [0]])))
    starts, ends = edges[::2], edges[1::2]
    lengths = [int(end - start) for start, end in zip(starts, ends, strict=True)]
    if lengths != [height * width] * patches:
        raise ValueError(f"video tokens: got runs of {lengths}, expected {patches} runs of {height * width}")
    patch = video_positions(np.zeros(1), height, width, 1.0)
    parts: list[Ids] = []
    position = column = 0
    for start in starts:
        parts += [_text(position, start - column), patch + (position + start - column)]
        position += int(start) - column + max(height, width)
        column = int(start) + height * width
    return np.concatenate([*parts, _text(position, len(is_video_L) - column)], axis=1)


def _text(start: int, count: int) -> Ids:
    return np.tile(np.arange(start, start + count, dtype=np.int64), (TEXT_AXES, 1))
