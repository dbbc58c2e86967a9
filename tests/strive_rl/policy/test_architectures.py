"""What is Qwen3-VL's own (the size of a clip, time stamps in the text, deep features) and Qwen2.5-VL's (the
size of a frame, its placeholder, times in the positions)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, Prompt, encode, load_policy, prompt_form
from strive_rl.policy.architectures.qwen_vl import Qwen25VL, metadata
from strive_rl.policy.encode import features, model_inputs, user_text
from strive_rl.policy.packing import PackedRow
from strive_rl.policy.policy import Clip
from strive_rl.schema import Group
from tests.strive_rl.made.groups import make_group
from tests.strive_rl.made.models import save_tiny_qwen3_vl

HOURS = (0.25, 1.25, 3600.0, 3660.0, 10799.9, 10800.0)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    folder: Path = save_tiny_qwen3_vl(tmp_path_factory.mktemp("qwen3_vl"))
    return load_policy(str(folder), PolicySettings(device="cpu"))


def by_processor(policy: Policy, group: Group) -> dict[str, torch.Tensor]:
    """The whole input by the model's own processor."""
    content = [{"type": "video"}, {"type": "text", "text": user_text(group.question)}]
    text = policy.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    (view,) = group.views
    size = {"shortest_edge": 32 * 32, "longest_edge": policy.settings.max_pixels * len(view.times)}
    options = {"cap_pixels_per_frame": False}
    known = policy.processor.video_processor.valid_kwargs.__annotations__
    return policy.processor(
        text=[text],
        videos=[torch.from_numpy(view.frames.transpose(0, 3, 1, 2).copy())],
        video_metadata=[metadata(view.times)],
        do_sample_frames=False,
        size=size,
        return_tensors="pt",
        **{name: value for name, value in options.items() if name in known},
    )


@pytest.mark.parametrize("side", [32, 64, 60])
@pytest.mark.parametrize("max_pixels", [128 * 28 * 28, 2048])
def test_ids_pixels_and_positions_are_those_of_the_processor_and_the_model(
    policy: Policy, side: int, max_pixels: int
) -> None:
    policy = replace(policy, settings=replace(policy.settings, max_pixels=max_pixels))
    group = make_group(times=(HOURS,), side=side)
    (prompt,) = encode(policy, group)
    whole = by_processor(policy, group)
    assert prompt.ids.tolist() == whole["input_ids"][0].tolist()
    assert torch.equal(prompt.pixels, whole["pixel_values_videos"])
    assert prompt.grid == tuple(whole["video_grid_thw"][0].tolist())
    positions, _ = policy.model.model.get_rope_index(
        whole["input_ids"],
        mm_token_type_ids=whole["mm_token_type_ids"],
        video_grid_thw=whole["video_grid_thw"],
    )
    np.testing.assert_array_equal(prompt.positions, positions[:, 0])


def test_the_mean_time_of_each_pair_is_written_before_it(policy: Policy) -> None:
    (prompt,) = encode(policy, make_group(times=(HOURS,), side=32))
    text = policy.tokenizer.decode(prompt.ids)
    assert "<0.8 seconds><|vision_start|><|video_pad|><|vision_end|><3630.0 seconds>" in text
    assert "<10800.0 seconds><|vision_start|><|video_pad|><|vision_end|>" in text


def test_pixels_are_bounded_by_the_clip(policy: Policy) -> None:
    """Sixteen frames of 64×64 keep their size under a limit of 64·64 a frame, not below it."""
    times = (tuple(float(t) for t in range(16)),)
    assert policy.architecture.pixel_limit(1000, 8) == 8000
    fits = replace(policy, settings=replace(policy.settings, max_pixels=64 * 64))
    (whole,) = encode(fits, make_group(times=times, side=64))
    assert whole.grid == (8, 4, 4)
    tight = replace(policy, settings=replace(policy.settings, max_pixels=64 * 64 - 1))
    (less,) = encode(tight, make_group(times=times, side=64))
    assert less.grid == (8, 2, 2)


def test_deep_features_enter_where_the_plain_forward_puts_them(policy: Policy) -> None:
    """Negative control: without them, other states."""
    (prompt,) = encode(policy, make_group(times=(HOURS,), side=64))
    (made,) = features(policy, [prompt])
    width = policy.model.config.text_config.hidden_size
    assert made.shape[1] == 3 * width
    ours = states(policy, replace(prompt, features=made))
    flat = torch.nn.functional.pad(made[:, :width], (0, 2 * width))
    with torch.no_grad():
        plain = policy.model.model(
            input_ids=torch.from_numpy(prompt.ids)[None],
            pixel_values_videos=prompt.pixels,
            video_grid_thw=torch.tensor([prompt.grid]),
            position_ids=torch.from_numpy(prompt.positions)[:, None],
        ).last_hidden_state
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    assert (states(policy, replace(prompt, features=flat)) - plain).abs().max() > 1e-2


def states(policy: Policy, prompt: Prompt) -> torch.Tensor:
    with torch.no_grad():
        inputs = model_inputs(policy, PackedRow([prompt], (), torch.device("cpu")), [prompt])
        return policy.forward(inputs, torch.from_numpy(prompt.positions)[:, None])


def test_a_times_metadata() -> None:
    made = metadata(np.array([0.0004, 0.5, 7200.25]))
    assert made.frames_indices == [0, 500, 7200250]
    assert made.fps == 1000.0


def test_the_placeholder_of_one_patch(policy: Policy) -> None:
    clip = Clip(grid=(1, 2, 4), times=np.array([1.0, 2.0]))
    expected = "<1.5 seconds><|vision_start|><|video_pad|><|video_pad|><|vision_end|>"
    assert policy.architecture.placeholder(policy.processor, clip) == expected


def test_vision_tokens_stand_around_all_patches_and_each(policy: Policy) -> None:
    """As transformers 5 has it, with the chat template's vision tokens around all patches."""
    patch = "<0.5 seconds><|vision_start|><|video_pad|><|vision_end|>"
    assert prompt_form(policy) == (
        f"<|im_start|>user\n<|vision_start|>{patch}<|vision_end|><|im_end|>\n<|im_start|>assistant\n"
    )


CLIP = Clip(grid=(2, 4, 2), times=np.array([3600.0, 3601.0, 7199.0, 7200.0]))


def test_qwen2_5_bounds_pixels_by_the_frame() -> None:
    assert Qwen25VL().pixel_limit(1000, 8) == 1000


def test_qwen2_5_has_one_run_of_video_tokens(tiny_policy: Policy) -> None:
    assert Qwen25VL().placeholder(tiny_policy.processor, CLIP) == "<|video_pad|>" * 4


def test_qwen2_5_has_hours_in_its_positions(tiny_policy: Policy) -> None:
    """Patches at 3600.5 and 7199.5 s, two tokens a second: 7,198 apart; the text follows."""
    is_video = np.array([0, 1, 1, 1, 1, 0], dtype=bool)
    positions = Qwen25VL().positions(tiny_policy.model.config, is_video, CLIP)
    assert positions.tolist() == [
        [0, 1, 1, 7199, 7199, 7200],
        [0, 1, 2, 1, 2, 7200],
        [0, 1, 1, 1, 1, 7200],
    ]


def test_qwen2_5_has_the_chat_templates_vision_tokens(tiny_policy: Policy) -> None:
    video = "<|vision_start|><|video_pad|><|vision_end|>"
    assert prompt_form(tiny_policy) == f"<|im_start|>user\n{video}<|im_end|>\n<|im_start|>assistant\n"
