"""A group → M prompts: ids, pixels and position ids, by the model's own processor.

The processor never samples frames anew and never enlarges them. Nothing is cut: a prompt longer than
`max_prompt_tokens` is refused as a sample that cannot be used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Frames, Question, Times
from strive_rl.policy.load import Policy
from strive_rl.policy.positions import Ids, patch_times, prompt_positions, video_positions
from strive_rl.prompt import user_text
from strive_rl.schema import Group, View


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """What the policy reads: one question under one view.

    ids int64 [L]; positions int64 [3, L]; is_video bool [L]; pixels float32 [patches, values of a patch] on
    the CPU; grid (T, H, W) in patches before merging; features [video tokens, D] once the frozen vision tower
    has read the pixels.
    """

    ids: Ids
    positions: Ids
    is_video: npt.NDArray[np.bool_]
    pixels: torch.Tensor
    grid: tuple[int, int, int]
    features: torch.Tensor | None = None


def encode(policy: Policy, group: Group) -> list[Prompt]:
    """Prompts of the M views of a group.

    Raises SampleError(bad_row) for a prompt longer than `policy.max_prompt_tokens` and for a question that
    itself holds a vision token.
    """
    views = [_whole_patches(view, _frames_per_patch(policy)) for view in group.views]
    pixels, grids = _pixels(policy, [view.frames for view in views])
    texts = {grid: _text(policy, group.question, grid) for grid in set(grids)}
    return [
        _prompt(policy, group.question, texts[grid], view.times, patches, grid)
        for view, patches, grid in zip(views, pixels, grids, strict=True)
    ]


def _prompt(
    policy: Policy,
    question: Question,
    ids: Ids,
    times_K: Times,
    pixels: torch.Tensor,
    grid: tuple[int, int, int],
) -> Prompt:
    config, limit = policy.model.config, policy.settings.max_prompt_tokens
    is_video, tokens = ids == config.video_token_id, video_tokens(policy, grid)
    vision = is_video | (ids == config.image_token_id)
    if vision.sum() != tokens:
        kept = f"{question.sample_id}: the question itself holds a vision token"
        raise SampleError(FailureKind.BAD_ROW, kept)
    if len(ids) > limit:
        over = f"{question.sample_id}: prompt of {len(ids)} tokens, policy.max_prompt_tokens is {limit}"
        raise SampleError(FailureKind.BAD_ROW, over)
    merge, per_patch = config.vision_config.spatial_merge_size, _frames_per_patch(policy)
    times = patch_times(times_K, per_patch)
    per_second = float(config.vision_config.tokens_per_second)
    video = video_positions(times, grid[1] // merge, grid[2] // merge, per_second)
    positions = prompt_positions(is_video, video)
    return Prompt(ids=ids, positions=positions, is_video=is_video, pixels=pixels, grid=grid)


def video_tokens(policy: Policy, grid: tuple[int, int, int]) -> int:
    """Number of video tokens of a grid (T, H, W) after merging."""
    return grid[0] * grid[1] * grid[2] // int(policy.model.config.vision_config.spatial_merge_size) ** 2


def _text(policy: Policy, question: Question, grid: tuple[int, int, int]) -> Ids:
    """Ids of the chat with one video of this grid and the question."""
    content = [{"type": "video"}, {"type": "text", "text": user_text(question)}]
    chat = [{"role": "user", "content": content}]
    text = policy.processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    token = policy.processor.video_token
    text = text.replace(token, token * video_tokens(policy, grid), 1)
    ids: list[int] = policy.tokenizer(text, add_special_tokens=False)["input_ids"]
    return np.asarray(ids, dtype=np.int64)


def _pixels(policy: Policy, frames: list[Frames]) -> tuple[list[torch.Tensor], list[tuple[int, int, int]]]:
    """Patches and grid of each clip, from the model's own video processor."""
    processor = policy.processor.video_processor
    least = (processor.patch_size * processor.merge_size) ** 2
    most = max(policy.settings.max_pixels, least)
    options: dict[str, Any] = {"size": {"shortest_edge": least, "longest_edge": most}}
    if "cap_pixels_per_frame" in processor.valid_kwargs.__annotations__:
        options["cap_pixels_per_frame"] = False
    clips = [torch.from_numpy(np.ascontiguousarray(clip.transpose(0, 3, 1, 2))) for clip in frames]
    made = processor(clips, do_sample_frames=False, return_tensors="pt", **options)
    grids = [(int(t), int(h), int(w)) for t, h, w in made["video_grid_thw"]]
    return list(torch.split(made["pixel_values_videos"], [t * h * w for t, h, w in grids])), grids


def _frames_per_patch(policy: Policy) -> int:
    return int(policy.model.config.vision_config.temporal_patch_size)


def _whole_patches(view: View, frames_per_patch: int) -> View:
    """The view with its last frame repeated until the frames fill whole temporal patches."""
    missing = -len(view.times) % frames_per_patch
    if not missing:
        return view
    frames = np.concatenate([view.frames, np.repeat(view.frames[-1:], missing, axis=0)])
    return View(frames=frames, times=np.concatenate([view.times, np.repeat(view.times[-1:], missing)]))
