"""Prompts → vision features, and the inputs of the language model.

A temporal patch (a frame pair) is read by the tower on its own: no attention crosses it. So the tower reads
each distinct patch once, however many variants chose it.

The embeddings are put together here, so that no forward pass depends on `mm_token_type_ids` or on the state
`rope_deltas` that transformers keeps between calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

import torch

from strive_rl.policy.packing import PackedRow
from strive_rl.policy.policy import Grid, Policy
from strive_rl.schema import Prompt

# Height and width in patches before merging, pixels.
Patch = tuple[int, int, torch.Tensor]


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
