"""A group → M prompts: ids, pixels and position ids, by the model's own processor.

The processor never resamples frames and never enlarges them. Nothing is cut: a prompt longer than
`max_prompt_tokens` is refused, as a sample that cannot be used or as the end of the run (`over_length`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Frames, ProblemType, Question
from strive_rl.policy.policy import Clip, Grid, Policy
from strive_rl.policy.positions import Ids
from strive_rl.schema import Group, Prompt, PromptStyle, View

# The text of a question as the policy reads it. Own words: the paper's prompts are not known here.

THINK = (
    "First reason about what the video shows inside <think></think>. "
    "Then write only the final answer inside <answer></answer>."
)

DIRECT = "Answer at once, without reasoning."

ANSWER_FORM: dict[ProblemType, str] = {
    "multiple choice": "The final answer is the letter of one option and nothing else.",
    "numerical": "The final answer is one number and nothing else.",
    "regression": "The final answer is one number and nothing else.",
    "OCR": "The final answer is the text exactly as it is written in the video.",
    "free-form": "The final answer is a short text.",
}


USUAL = PromptStyle()

OPENED_THOUGHT = re.compile(r"<think>\s*(?:</think>\s*)?\Z")


def user_text(question: Question, wording: PromptStyle = USUAL) -> str:
    """Question, options (one a line, where there are any), how to answer, and the form of the answer.

    The text is a fixed function of the question; nothing of the true answer or its evidence enters it.
    """
    lines = [question.question.strip(), *(option.strip() for option in question.options)]
    form = wording.form or ANSWER_FORM[question.problem_type]
    return "\n".join([*lines, THINK if wording.reason else DIRECT, form])


Patches = dict[int, tuple[torch.Tensor, Grid]]
"""Pixels and grid of views that were read before, by the `id` of the view."""


def encode(policy: Policy, group: Group, seen: Patches | None = None) -> list[Prompt]:
    """Prompts of the M views of a group.

    A view in `seen` is not read again, and others are put there: groups that share a view share its pixels,
    the same tensor. Views must outlive `seen`.

    Raises SampleError(bad_row) for a question that itself holds a vision token, and for a prompt longer than
    `policy.max_prompt_tokens`; UsageError for such a prompt where `policy.over_length` is "stop".
    """
    views = [_in_patches(view, policy) for view in group.views]
    seen = {} if seen is None else seen
    fresh = [place for place, view in enumerate(group.views) if id(view) not in seen]
    read = _pixels(policy, [views[place].frames for place in fresh])
    seen |= {id(group.views[place]): pixels for place, pixels in zip(fresh, read, strict=True)}
    pixels = [seen[id(view)] for view in group.views]
    chat = _chat(policy, group)
    return [
        _prompt(policy, group.question, chat, Clip(grid=grid, times=view.times), patches)
        for view, (patches, grid) in zip(views, pixels, strict=True)
    ]


def prompt_form(policy: Policy) -> str:
    """How a prompt looks around a clip of one patch at half a second.

    What stands around its time stamps depends on the version of transformers; a run records it, since a model
    trained on one form should be read with the same.
    """
    merge = int(policy.model.config.vision_config.spatial_merge_size)
    clip = Clip(grid=(1, merge, merge), times=np.array([0.0, 1.0]))
    turns = [{"role": "user", "content": [{"type": "video"}]}]
    return _with_clip(policy, _templated(policy, turns), clip)


def _prompt(policy: Policy, question: Question, chat: str, clip: Clip, pixels: torch.Tensor) -> Prompt:
    config, limit = policy.model.config, policy.settings.max_prompt_tokens
    tokens = policy.tokenizer(_with_clip(policy, chat, clip), add_special_tokens=False)["input_ids"]
    ids: Ids = np.asarray(tokens, dtype=np.int64)
    is_video = ids == config.video_token_id
    vision = is_video | (ids == config.image_token_id)
    if vision.sum() != np.prod(clip.merged(config.vision_config.spatial_merge_size)):
        kept = f"question {question.sample_id} itself holds a vision token"
        raise SampleError(FailureKind.BAD_ROW, kept)
    if len(ids) > limit:
        over = (
            f"question {question.sample_id}: prompt of {len(ids)} tokens, policy.max_prompt_tokens is {limit}"
        )
        if policy.settings.over_length == "stop":
            raise UsageError(
                f"{over}; raise it, lower the frames or policy.max_pixels, or set over_length=drop"
            )
        raise SampleError(FailureKind.BAD_ROW, over)
    positions = policy.architecture.positions(config, is_video, clip)
    return Prompt(
        ids=ids,
        positions=positions,
        is_video=is_video,
        pixels=pixels,
        grid=clip.grid,
        opening=opening_of(chat),
    )


def opening_of(chat: str) -> str:
    """The thought that a chat template opens, or writes as an empty one, at the end of the prompt."""
    written = OPENED_THOUGHT.search(chat)
    return written[0] if written else ""


def _chat(policy: Policy, group: Group) -> str:
    """The chat with one video, still one token, and the question."""
    content = [{"type": "video"}, {"type": "text", "text": user_text(group.question, group.style)}]
    turns = [{"role": "user", "content": content}]
    return _templated(policy, turns)


def _templated(policy: Policy, turns: Sequence[Mapping[str, Any]]) -> str:
    return str(policy.processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def _with_clip(policy: Policy, chat: str, clip: Clip) -> str:
    """The chat with this clip in place of its video token."""
    placeholder = policy.architecture.placeholder(policy.processor, clip)
    return chat.replace(policy.processor.video_token, placeholder, 1)


def _pixels(policy: Policy, clips: Sequence[Frames]) -> list[tuple[torch.Tensor, Grid]]:
    """Patches and grid of each clip, from the model's video processor; clips of one length in one call."""
    done: dict[int, tuple[torch.Tensor, Grid]] = {}
    for count in {len(clip) for clip in clips}:
        places = [i for i, clip in enumerate(clips) if len(clip) == count]
        done |= dict(zip(places, _processed(policy, [clips[i] for i in places], count), strict=True))
    return [done[i] for i in range(len(clips))]


def _processed(policy: Policy, clips: Sequence[Frames], frames: int) -> list[tuple[torch.Tensor, Grid]]:
    processor, limit = policy.processor.video_processor, policy.architecture.pixel_limit
    least = (processor.patch_size * processor.merge_size) ** 2
    most = max(policy.settings.max_pixels, least)
    size = {"shortest_edge": limit(least, frames), "longest_edge": limit(most, frames)}
    options: dict[str, Any] = {"size": size}
    if "cap_pixels_per_frame" in processor.valid_kwargs.__annotations__:
        options["cap_pixels_per_frame"] = False
    videos = [torch.from_numpy(np.ascontiguousarray(clip.transpose(0, 3, 1, 2))) for clip in clips]
    made = processor(videos, do_sample_frames=False, return_tensors="pt", **options)
    grids = [(int(t), int(h), int(w)) for t, h, w in made["video_grid_thw"]]
    pixels = torch.split(made["pixel_values_videos"], [t * h * w for t, h, w in grids])
    return list(zip(pixels, grids, strict=True))


def _in_patches(view: View, policy: Policy) -> View:
    """The view with its frames as they fill temporal patches: repeated as `policy.frame_pairs` says, the last
    one until the last patch is whole."""
    per_patch, pairs = int(policy.model.config.vision_config.temporal_patch_size), policy.settings.frame_pairs
    if pairs == "neighbours" and not view.paired:
        raise ValueError("policy.frame_pairs=neighbours needs views of neighbouring frames")
    order = np.arange(len(view.times))
    if pairs == "doubled":
        order = np.repeat(order, per_patch)
    order = np.pad(order, (0, -len(order) % per_patch), mode="edge")
    return replace(view, frames=view.frames[order], times=view.times[order])
