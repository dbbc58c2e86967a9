"""What is Qwen2.5-VL's own: the size of a frame, its placeholder, times in the positions."""

from __future__ import annotations

import numpy as np

from strive_rl.policy import Policy, prompt_form
from strive_rl.policy.architecture import Clip
from strive_rl.policy.qwen2_5_vl import Qwen25VL

CLIP = Clip(grid=(2, 4, 2), times=np.array([3600.0, 3601.0, 7199.0, 7200.0]))


def test_pixels_are_bounded_by_the_frame() -> None:
    assert Qwen25VL().pixel_limit(1000, 8) == 1000


def test_one_run_of_video_tokens(tiny_policy: Policy) -> None:
    assert Qwen25VL().placeholder(tiny_policy.processor, CLIP) == "<|video_pad|>" * 4


def test_hours_reach_the_positions(tiny_policy: Policy) -> None:
    """Patches at 3600.5 and 7199.5 s, two tokens a second: 7,198 apart; the text goes on behind."""
    is_video = np.array([0, 1, 1, 1, 1, 0], dtype=bool)
    positions = Qwen25VL().positions(tiny_policy.model.config, is_video, CLIP)
    assert positions.tolist() == [
        [0, 1, 1, 7199, 7199, 7200],
        [0, 1, 2, 1, 2, 7200],
        [0, 1, 1, 1, 1, 7200],
    ]


def test_the_form_of_a_prompt(tiny_policy: Policy) -> None:
    video = "<|vision_start|><|video_pad|><|vision_end|>"
    assert prompt_form(tiny_policy) == f"<|im_start|>user\n{video}<|im_end|>\n<|im_start|>assistant\n"
