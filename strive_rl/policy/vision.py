"""Prompts → vision features and input embeddings.

The embeddings are put together here, so that no forward pass depends on `mm_token_type_ids` or on the state
`rope_deltas` that transformers keeps between calls (DESIGN.md 7.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from strive_rl.policy.encode import Prompt
from strive_rl.policy.load import Policy


def features(policy: Policy, prompts: Sequence[Prompt]) -> list[torch.Tensor]:
    """Vision features [video tokens, D] of each prompt, by one call of the tower."""
    pixels = torch.cat([prompt.pixels for prompt in prompts]).to(policy.device)
    grids = torch.tensor([prompt.grid for prompt in prompts], device=policy.device)
    output = policy.model.model.get_video_features(pixels, grids, return_dict=True)
    return list(output.pooler_output)


def with_features(policy: Policy, prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts with the features of the frozen tower, computed `prompts_per_pass` at a time.

    With a trained tower the prompts come back as they are: their features change with every step.
    """
    if policy.settings.train_vision:
        return list(prompts)
    done: list[Prompt] = []
    size = policy.settings.prompts_per_pass
    with torch.no_grad():
        for start in range(0, len(prompts), size):
            part = prompts[start : start + size]
            made = features(policy, part)
            done += [replace(prompt, features=one) for prompt, one in zip(part, made, strict=True)]
    return done


def embed(
    policy: Policy, ids_RN: torch.Tensor, is_video_RN: torch.Tensor, prompts: Sequence[Prompt]
) -> torch.Tensor:
    """Input embeddings [R, N, D]: text from the table, video tokens row by row from the prompts' features."""
    known = [prompt.features for prompt in prompts if prompt.features is not None]
    video = known if len(known) == len(prompts) else features(policy, prompts)
    table = policy.model.model.language_model.embed_tokens
    embeddings: torch.Tensor = table(ids_RN)
    return embeddings.masked_scatter(is_video_RN[..., None], torch.cat(video).to(embeddings.dtype))
