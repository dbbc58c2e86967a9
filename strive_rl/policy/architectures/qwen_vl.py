"""Qwen2.5-VL: one run of video tokens; the times of its frames are in the position ids.

Qwen3-VL and Qwen3.5: each temporal patch has its own run of video tokens, with its time written before it.
The text is that of the model's processor, given the true times. The tokens around the time stamps depend on
the version of transformers (5.x and vLLM 0.32 keep the chat template's outer vision tokens, 4.57 drops them),
so a run records them.

Qwen3.5 has no deep features, and linear attention in three of four layers (`linear_attention`).

Positions have three axes, the first dimension: temporal, height, width. Those of Qwen2.5-VL come from the
true times of the frames. They differ from transformers' `get_rope_index` on purpose: it spaces all temporal
patches by one interval and lets the text after a video continue from the spatial extent; here every patch has
its own time and the text continues from the largest position in use, as the released weights were trained. In
Qwen3-VL each patch is a run of its own without a time, which the text has: equal to its `get_rope_index`.

Shape letters: L tokens of the prompt, T temporal patches (merged frame pairs), H×W merged patches of a frame
pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.video_utils import VideoMetadata

from strive_data.schema import Times
from strive_rl.policy.policy import Clip, Ids

MILLISECONDS = 1000
TEXT_AXES = 3


class Qwen25VL:
    """See `policy.Architecture`."""

    model_class = Qwen2_5_VLForConditionalGeneration
    patch_text_tokens = 0

    def pixel_limit(self, pixels: int, frames: int) -> int:
        """This processor bounds each frame."""
        return pixels

    def placeholder(self, processor: Any, clip: Clip) -> str:
        """One video token for each merged patch."""
        return str(processor.video_token) * int(np.prod(clip.merged(processor.video_processor.merge_size)))

    def positions(self, config: Any, is_video_L: npt.NDArray[np.bool_], clip: Clip) -> Ids:
        """True times on the temporal axis, at the model's tokens per second."""
        vision = config.vision_config
        _, height, width = clip.merged(vision.spatial_merge_size)
        video = video_positions(clip.patch_times, height, width, float(vision.tokens_per_second))
        return prompt_positions(is_video_L, [video])


@dataclass
class Qwen3VL:
    """See `policy.Architecture`; every mixture of experts and Qwen3.5 too."""

    model_class: Any
    # "<", up to six digits and a point, " seconds", ">", and the two vision tokens.
    patch_text_tokens: int = 12

    def pixel_limit(self, pixels: int, frames: int) -> int:
        """This processor bounds the whole clip."""
        return pixels * frames

    def placeholder(self, processor: Any, clip: Clip) -> str:
        """`<t seconds>` and the video tokens of each temporal patch; t is the mean of its frames."""
        video = {"video_grid_thw": np.array([clip.grid]), "video_metadata": [metadata(clip.times)]}
        return str(processor.replace_video_token(video, video_idx=0))

    def positions(self, config: Any, is_video_L: npt.NDArray[np.bool_], clip: Clip) -> Ids:
        """A patch is an image among text."""
        patches, height, width = clip.merged(config.vision_config.spatial_merge_size)
        return prompt_positions(is_video_L, [video_positions(np.zeros(1), height, width, 1.0)] * patches)


def metadata(times_K: Times) -> VideoMetadata:
    """Frames at these seconds, given to the processor as frames of a video of 1,000 a second."""
    stamps = [round(float(time) * MILLISECONDS) for time in times_K]
    return VideoMetadata(
        total_num_frames=stamps[-1] + 1,
        fps=float(MILLISECONDS),
        duration=float(times_K[-1]),
        frames_indices=stamps,
    )


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
