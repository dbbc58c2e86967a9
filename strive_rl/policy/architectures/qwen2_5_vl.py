"""Qwen2.5-VL: one run of video tokens; the times of its frames are in the position ids.

Differs from transformers on purpose, see `positions`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import Qwen2_5_VLForConditionalGeneration

from strive_rl.policy.policy import Clip
from strive_rl.policy.positions import Ids, prompt_positions, video_positions


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
