"""A group → M prompts: ids, pixels and position ids, by the model's own processor.

The processor never resamples frames and never enlarges them. No prompt is cut: a longer one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Question
from strive_rl.policy.policy import Clip, Grid, Ids, Policy
from strive_rl.schema import ANSWER_FORM, Group, Prompt, PromptStyle, View

# How the text of a question asks for an answer. Own words, as `schema.ANSWER_FORM`.
THINK = (
    "First reason about what the video shows inside <think></think>. "
    "Then write only the final answer inside <answer></answer>."
)
DIRECT = "Answer at once, without reasoning."
USUAL = PromptStyle()

# The thought that a chat template opens, or writes as an empty one, at the end of the prompt.
OPENED_THOUGHT = re.compile(r"<think>\s*(?:</think>\s*)?\Z")


def user_text(question: Question, wording: PromptStyle = USUAL, *, still: bool = False) -> str:
    """Question, options (one a line), how to answer, and the form of the answer; nothing of the true answer
    or its evidence. `still`: what the package itself says of the video is said of an image."""
    lines = [question.question.strip(), *(option.strip() for option in question.options)]
    asked = [THINK if wording.reason else DIRECT, ANSWER_FORM[question.problem_type]]
    if still:
        asked = [line.replace("the video", "the image") for line in asked]
    return "\n".join([*lines, asked[0], wording.form or asked[1]])


Patches = dict[int, tuple[torch.Tensor, Grid]]
"""Pixels and grid of views that were read before, by the `id` of the view."""


def encode(policy: Policy, group: Group, seen: Patches | None = None) -> list[Prompt]:
    """Prompts of the M views of a group.

    A view in `seen` is not read again, and others are put there: groups that share a view share its pixels,
    the same tensor. Views must outlive `seen`.

    Raises SampleError(bad_row) for a question that itself holds a vision token, and for a prompt longer than
    `policy.max_prompt_tokens`; UsageError for such a prompt where `policy.over_length` is "stop".
    """
    seen = {} if seen is None else seen
    text = user_text(group.question, group.style, still=group.still)
    chat = _chat(policy, [{"type": "image" if group.still else "video"}, {"type": "text", "text": text}])
    prompts = []
    for view in group.views:
        shown = _in_patches(view, policy)
        if id(view) not in seen:
            seen[id(view)] = _pixels(policy, shown)
        pixels, grid = seen[id(view)]
        prompts.append(_prompt(policy, group, chat, Clip(grid=grid, times=shown.times), pixels))
    return prompts


def prompt_form(policy: Policy) -> str:
    """How a prompt looks around a clip of one patch at half a second. What stands around its time stamps
    depends on the version of transformers, so a run records it, and is resumed with the same."""
    merge = int(policy.model.config.vision_config.spatial_merge_size)
    clip = Clip(grid=(1, merge, merge), times=np.array([0.0, 1.0]))
    return _with_clip(policy, _chat(policy, [{"type": "video"}]), clip)


def _prompt(policy: Policy, group: Group, chat: str, clip: Clip, pixels: torch.Tensor) -> Prompt:
    config, limit = policy.model.config, policy.settings.max_prompt_tokens
    question, shown = group.question, _with_clip(policy, chat, clip, still=group.still)
    tokens = policy.tokenizer(shown, add_special_tokens=False)["input_ids"]
    ids: Ids = np.asarray(tokens, dtype=np.int64)
    vision = (ids == config.video_token_id) | (ids == config.image_token_id)
    is_video = ids == (config.image_token_id if group.still else config.video_token_id)
    if vision.sum() != np.prod(clip.merged(config.vision_config.spatial_merge_size)):
        raise SampleError(FailureKind.BAD_ROW, f"question {question.sample_id} itself holds a vision token")
    if len(ids) > limit:
        over = f"question {question.sample_id}: prompt of {len(ids)} tokens, policy.max_prompt_tokens is "
        if policy.settings.over_length == "drop":
            raise SampleError(FailureKind.BAD_ROW, f"{over}{limit}")
        raise UsageError(
            f"{over}{limit}; raise it, lower the frames or policy.max_pixels, or set over_length=drop"
        )
    opened = OPENED_THOUGHT.search(chat)
    return Prompt(
        ids=ids,
        positions=policy.architecture.positions(config, is_video, clip),
        is_video=is_video,
        pixels=pixels,
        grid=clip.grid,
        opening=opened[0] if opened else "",
        still=group.still,
    )


def _chat(policy: Policy, content: Sequence[Mapping[str, str]]) -> str:
    """The chat up to the completion; its video or image is so far one token."""
    turns = [{"role": "user", "content": content}]
    return str(policy.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def _with_clip(policy: Policy, chat: str, clip: Clip, *, still: bool = False) -> str:
    """The chat with this clip in place of its one video or image token, as the processor writes it."""
    if still:
        token, processor = policy.processor.image_token, policy.processor.image_processor
        return chat.replace(token, token * int(np.prod(clip.merged(processor.merge_size))), 1)
    placeholder = policy.architecture.placeholder(policy.processor, clip)
    return chat.replace(policy.processor.video_token, placeholder, 1)


def _pixels(policy: Policy, view: View) -> tuple[torch.Tensor, Grid]:
    """Patches and grid of a view, from the model's processors, its frames of at most `policy.max_pixels`.

    Of a still view one image: the image processor fills the temporal patch with copies of it.
    """
    still, frames = view.still, torch.from_numpy(np.ascontiguousarray(view.frames.transpose(0, 3, 1, 2)))
    processor = policy.processor.image_processor if still else policy.processor.video_processor
    limit, least = policy.architecture.pixel_limit, (processor.patch_size * processor.merge_size) ** 2
    sides = {"shortest_edge": least, "longest_edge": max(policy.settings.max_pixels, least)}
    options: dict[str, Any] = {
        "size": {side: limit(pixels, 1 if still else len(frames)) for side, pixels in sides.items()}
    }
    if not still:
        options["do_sample_frames"] = False
        if "cap_pixels_per_frame" in processor.valid_kwargs.__annotations__:
            options["cap_pixels_per_frame"] = False
    made = processor([frames[0] if still else frames], return_tensors="pt", **options)
    pixels = made["pixel_values" if still else "pixel_values_videos"]
    t, h, w = made["image_grid_thw" if still else "video_grid_thw"][0].tolist()
    return pixels, (t, h, w)


def _in_patches(view: View, policy: Policy) -> View:
    """The view with its frames as they fill temporal patches: repeated as `policy.frame_pairs` says, the last
    one until the last patch is whole. An image is left to the image processor."""
    if view.still:
        return view
    per_patch, pairs = int(policy.model.config.vision_config.temporal_patch_size), policy.settings.frame_pairs
    if pairs == "neighbours" and not view.paired:
        raise ValueError("policy.frame_pairs=neighbours needs views of neighbouring frames")
    order = np.arange(len(view.times))
    if pairs == "doubled":
        order = np.repeat(order, per_patch)
    order = np.pad(order, (0, -len(order) % per_patch), mode="edge")
    return replace(view, frames=view.frames[order], times=view.times[order])
