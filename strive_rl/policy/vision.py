"""Prompts → vision features, and what the language model reads.

The embeddings are put together here, so that no forward pass depends on `mm_token_type_ids` or on the state
`rope_deltas` that transformers keeps between calls (DESIGN.md 7.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from strive_rl.policy.policy import Policy
from strive_rl.schema import Prompt, VideoFeatures


def features(policy: Policy, prompts: Sequence[Prompt]) -> list[VideoFeatures]:
    """Vision features of each prompt, by one call of the tower."""
    return policy.encode_vision(
        torch.cat([prompt.pixels for prompt in prompts]), [prompt.grid for prompt in prompts]
    )


def with_features(policy: Policy, prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts with the features of the frozen tower, computed `prompts_per_pass` at a time.

    Prompts that share their pixels (the same tensor) are looked at once. With a trained tower the prompts
    come back as they are: their features change with every step.
    """
    if policy.settings.train_vision:
        return list(prompts)
    clips = list({id(prompt.pixels): prompt for prompt in prompts}.values())
    size = policy.settings.prompts_per_pass
    known: dict[int, VideoFeatures] = {}
    with torch.no_grad():
        for start in range(0, len(clips), size):
            part = clips[start : start + size]
            made = policy.fsdp_forward(partial(features, policy, part))
            known |= {id(clip.pixels): one for clip, one in zip(part, made, strict=True)}
    return [replace(prompt, features=known[id(prompt.pixels)]) for prompt in prompts]


def model_inputs(
    policy: Policy, ids_RN: torch.Tensor, is_video_RN: torch.Tensor, prompts: Sequence[Prompt]
) -> dict[str, Any]:
    """Arguments of `Policy.read` for rows that hold these prompts.

    `inputs_embeds` [R, N, D]: text from the table, video tokens row by row from the prompts' features; and
    whatever the architecture adds to the states further up.
    """
    known = [prompt.features for prompt in prompts if prompt.features is not None]
    video = known if len(known) == len(prompts) else features(policy, prompts)
    embeddings = policy.embed(ids_RN)
    tokens = torch.cat([each.tokens for each in video]).to(embeddings.dtype)
    deep = [torch.cat(layer) for layer in zip(*(each.deep for each in video), strict=True)]
    inputs = {"inputs_embeds": embeddings.masked_scatter(is_video_RN[..., None], tokens)}
    return inputs | policy.architecture.injected(deep, is_video_RN)
