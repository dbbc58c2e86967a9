"""Qwen3-VL and Qwen3.5: each temporal patch has its own run of video tokens, with its time written before it.

The text is that of the model's processor, given the true times. The tokens around the
time stamps depend on the version of transformers (5.x and vLLM 0.32 keep the chat template's outer vision
tokens, 4.57 drops them), so a run records them. The positions are those of the model's own `get_rope_index`.

Qwen3.5 has no deep features, and linear attention in three of four layers (`linear_attention`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeForConditionalGeneration,
)
from transformers.video_utils import VideoMetadata

from strive_data.schema import Times
from strive_rl.policy.architectures.qwen2_5_vl import PlainTower
from strive_rl.policy.policy import Clip, Grid
from strive_rl.policy.positions import Ids, stamped_positions
from strive_rl.schema import VideoFeatures

MILLISECONDS = 1000


class Qwen3VL:
    """See `policy.Architecture`."""

    model_class: Any = Qwen3VLForConditionalGeneration
    # "<", up to six digits and a point, " seconds", ">", and the two vision tokens.
    patch_text_tokens = 12

    def pixel_limit(self, pixels: int, frames: int) -> int:
        """This processor bounds the whole clip."""
        return pixels * frames

    def placeholder(self, processor: Any, clip: Clip) -> str:
        """`<t seconds>` and the video tokens of each temporal patch; t is the mean of its frames."""
        video = {"video_grid_thw": np.array([clip.grid]), "video_metadata": [metadata(clip.times)]}
        return str(processor.replace_video_token(video, video_idx=0))

    def positions(self, config: Any, is_video_L: npt.NDArray[np.bool_], clip: Clip) -> Ids:
        """A patch is an image among text."""
        return stamped_positions(is_video_L, clip.merged(config.vision_config.spatial_merge_size))

    def features(self, model: Any, pixels: torch.Tensor, grids: Sequence[Grid]) -> list[VideoFeatures]:
        """The tower's tokens, and its deepstack features for the first decoder layers."""
        output = model.get_video_features(pixels, torch.tensor(grids, device=pixels.device), return_dict=True)
        tokens = list(output.pooler_output)
        counts = [len(each) for each in tokens]
        # transformers 5.17 gives the deep features of all clips in one tensor, later ones a tensor a clip.
        layers = [
            torch.split(torch.cat(tuple(x)) if isinstance(x, (tuple, list)) else x, counts)
            for x in output.deepstack_features
        ]
        return [
            VideoFeatures(tokens=one, deep=tuple(layer[i] for layer in layers))
            for i, one in enumerate(tokens)
        ]

    def injected(self, deep: Sequence[torch.Tensor], is_video_RL: torch.Tensor) -> dict[str, Any]:
        """The deepstack features, added to the states of the video tokens behind the first decoder layers."""
        return {"visual_pos_masks": is_video_RL, "deepstack_visual_embeds": list(deep)}


class Qwen3VLMoe(Qwen3VL):
    """The same with experts behind each attention."""

    model_class = Qwen3VLMoeForConditionalGeneration


class Qwen35(PlainTower, Qwen3VL):
    """See `policy.Architecture`."""

    model_class = Qwen3_5ForConditionalGeneration


class Qwen35Moe(Qwen35):
    """The same with experts behind each attention, one of them for all tokens."""

    model_class = Qwen3_5MoeForConditionalGeneration


def metadata(times_K: Times) -> VideoMetadata:
    """Frames at these seconds, given to the processor as frames of a video of 1,000 a second."""
    stamps = [round(float(time) * MILLISECONDS) for time in times_K]
    return VideoMetadata(
        total_num_frames=stamps[-1] + 1,
        fps=float(MILLISECONDS),
        duration=float(times_K[-1]),
        frames_indices=stamps,
    )
