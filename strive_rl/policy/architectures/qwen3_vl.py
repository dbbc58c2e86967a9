"""Qwen3-VL and Qwen3.5: each temporal patch has its own run of video tokens, with its time written before it.

The text is that of the model's processor, given the true times. The tokens around the
time stamps depend on the version of transformers (5.x and vLLM 0.32 keep the chat template's outer vision
tokens, 4.57 drops them), so a run records them. The positions are those of the model's own `get_rope_index`.

Qwen3.5 has no deep features, and linear attention in three of four layers (`linear_attention`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers.video_utils import VideoMetadata

from strive_data.schema import Times
from strive_rl.policy.policy import Clip
from strive_rl.policy.positions import Ids, prompt_positions, video_positions

MILLISECONDS = 1000


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
