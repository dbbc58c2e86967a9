"""Qwen2.5-VL: one run of video tokens; the times of its frames are in the position ids. Differs from
transformers on purpose, see `positions`.

Qwen3-VL and Qwen3.5: each temporal patch has its own run of video tokens, with its time written before it.

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
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.video_utils import VideoMetadata

from strive_data.schema import Times
from strive_rl.policy.policy import Clip
from strive_rl.policy.positions import Ids, prompt_positions, video_positions

MILLISECONDS = 1000


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
