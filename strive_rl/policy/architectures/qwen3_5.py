"""Qwen3.5: prompts and positions of Qwen3-VL, no deep features, three of four layers with linear attention.

What is computed once for all completions of a prompt is in `linear_attention`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Qwen3_5ForConditionalGeneration, Qwen3_5MoeForConditionalGeneration

from strive_rl.policy.architectures.qwen2_5_vl import video_tokens
from strive_rl.policy.architectures.qwen3_vl import Qwen3VL
from strive_rl.policy.policy import Grid
from strive_rl.schema import VideoFeatures


class Qwen35(Qwen3VL):
    """See `policy.Architecture`."""

    model_class = Qwen3_5ForConditionalGeneration

    def features(self, model: Any, pixels: torch.Tensor, grids: Sequence[Grid]) -> list[VideoFeatures]:
        """The tower's tokens."""
        return video_tokens(model, pixels, grids)

    def injected(self, deep: Sequence[torch.Tensor], is_video_RL: torch.Tensor) -> dict[str, Any]:
        """Nothing enters above the embeddings."""
        return {}


class Qwen35Moe(Qwen35):
    """The same with experts behind each attention, one of them for all tokens."""

    model_class = Qwen3_5MoeForConditionalGeneration
