"""A group → M prompts: ids, pixels and position ids, by the model's own processor; their vision features, and
the inputs of the language model.

The processor never resamples frames and never enlarges them. No prompt is cut: a longer one is refused.

A temporal patch (a frame pair) is read by the tower on its own: no attention crosses it. So the tower reads
each distinct patch once, however many variants chose it. The embeddings are put together here, so that no
forward pass depends on `mm_token_type_ids` or on the state `rope_deltas` that transformers keeps between
calls.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch

from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Question
from strive_rl.policy.packing import PackedRow
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


Patch = tuple[int, int, torch.Tensor]
"""Height and width in patches before merging, pixels."""
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


def with_features(policy: Policy, prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts with the features of the frozen tower, which reads up to `prompts_per_pass` clips a call.

    With a trained tower the prompts come back unchanged: their features change with every step.
    """
    if policy.settings.train_vision:
        return list(prompts)
    longest = max((prompt.grid[0] for prompt in prompts), default=1)
    with torch.no_grad():
        made = features(policy, prompts, policy.settings.prompts_per_pass * longest)
    return [replace(prompt, features=each) for prompt, each in zip(prompts, made, strict=True)]


def features(
    policy: Policy, prompts: Sequence[Prompt], patches_per_call: int | None = None
) -> list[torch.Tensor]:
    """Vision features of each prompt, each distinct temporal patch read once; all in one call by default."""
    distinct, chosen = _distinct_patches(prompts)
    # Patches of one size beside each other: they are one clip to the tower.
    order = sorted(range(len(distinct)), key=lambda patch: distinct[patch][:2])
    size = patches_per_call or len(order)
    known: dict[int, torch.Tensor] = {}
    for start in range(0, len(order), size):
        part = order[start : start + size]
        read = partial(_read_patches, policy, [distinct[patch] for patch in part])
        known |= zip(part, policy.fsdp_forward(read) if patches_per_call else read(), strict=True)
    return [torch.cat([known[patch] for patch in patches]) for patches in chosen]


def _distinct_patches(prompts: Sequence[Prompt]) -> tuple[list[Patch], list[list[int]]]:
    """The temporal patches of all prompts, equal ones once, and for each prompt which of them it has.

    A few values of a patch find the candidates, which are then compared in full.
    """
    distinct: list[Patch] = []
    alike: dict[tuple[int, int, bytes], list[int]] = {}
    chosen: list[list[int]] = []
    for prompt in prompts:
        _, height, width = prompt.grid
        chosen.append([])
        for pixels in torch.split(prompt.pixels, height * width):
            probe = pixels[:: height + 1, ::97].numpy().tobytes()
            candidates = alike.setdefault((height, width, probe), [])
            same = next((each for each in candidates if torch.equal(distinct[each][2], pixels)), None)
            if same is None:
                same = len(distinct)
                candidates.append(same)
                distinct.append((height, width, pixels))
            chosen[-1].append(same)
    return distinct, chosen


def _read_patches(policy: Policy, patches: Sequence[Patch]) -> list[torch.Tensor]:
    grids: list[Grid] = [(len(list(same)), *size) for size, same in groupby(patch[:2] for patch in patches)]
    # Each from where it lies: putting them together before would copy pinned ones into pageable memory.
    pixels = [patch[2].to(policy.device, non_blocking=True).to(policy.model.dtype) for patch in patches]
    clips = policy.encode_vision(torch.cat(pixels), grids)
    return [patch for clip, (count, _, _) in zip(clips, grids, strict=True) for patch in clip.chunk(count)]


def read_packed(policy: Policy, row: PackedRow, prompts: Sequence[Prompt]) -> torch.Tensor:
    """Hidden states [1, K, D] of the kept columns of the packed row of these prompts."""
    return policy.forward(model_inputs(policy, row, prompts), row.positions, row)


def model_inputs(policy: Policy, row: PackedRow, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Arguments of `Policy.forward` for the row of these prompts: embeddings [1, N, D], of video tokens the
    prompts' features, and the deep features, which are added behind the first decoder layers."""
    known = [prompt.features for prompt in prompts if prompt.features is not None]
    video = known if len(known) == len(prompts) else features(policy, prompts)
    is_video = torch.zeros(1, len(row.ids), dtype=torch.bool)
    for prompt, (start, end) in zip(prompts, row.prompts, strict=True):
        is_video[0, start:end] = torch.from_numpy(prompt.is_video)
    is_video = is_video.to(policy.device)
    embeddings = policy.embed(row.ids[None])
    tokens, *deep = torch.split(torch.cat(video), embeddings.shape[-1], dim=1)
    embeddings = embeddings.masked_scatter(is_video[..., None], tokens.to(embeddings.dtype))
    if not deep:
        return {"inputs_embeds": embeddings}
    return {"inputs_embeds": embeddings, "visual_pos_masks": is_video, "deepstack_visual_embeds": deep}
