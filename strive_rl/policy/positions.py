"""Three-axis position ids of a prompt with one video.

Shape letters: L tokens of the prompt, T temporal patches (merged frame pairs), H×W merged patches of a frame
pair. Axes of the first dimension: temporal, height, width.

Those of Qwen2.5-VL come from the true times of the frames. They differ from transformers' `get_rope_index` on
purpose: it spaces all temporal patches by one interval and lets the text after a video continue from the
spatial extent; here every patch has its own time and the text continues from the largest position in use, as
the released weights were trained. In Qwen3-VL each patch is a run of its own without a time, which the text
has: equal to its `get_rope_index`.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def prompt_positions(is_video_L: npt.NDArray[np.bool_], runs: Sequence[Ids]) -> Ids:
    """Positions of text around runs of video tokens: int64 [3, L].

    `is_video_L` marks the runs; `runs` are their positions [3, N], counted from the first token of each. Text
    counts up by one on all axes; what follows a run starts at the largest position so far plus one.
    ValueError where the marks are not runs of these lengths.
    """
    edges = np.flatnonzero(np.diff(is_video_L.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    lengths, expected = [int(end - start) for start, end in edges], [run.shape[1] for run in runs]
    if lengths != expected:
        raise ValueError(f"video tokens: got runs of {lengths}, expected {expected}")
    parts: list[Ids] = []
    position = column = 0
    for (start, end), run in zip(edges.tolist(), runs, strict=True):
        parts.append(_text(position, start - column))
        position += start - column
        parts.append(run + position)
        position += int(run.max()) + 1
        column = end
    return np.concatenate([*parts, _text(position, len(is_video_L) - column)], axis=1)


def _text(start: int, count: int) -> Ids:
    return np.tile(np.arange(start, start + count, dtype=np.int64), (TEXT_AXES, 1))
