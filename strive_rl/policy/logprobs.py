"""Prompts and completions → log-probabilities with gradients, each prompt computed once.

A prompt and its G completions share one row under a block mask (`block`), so the update costs
P + ΣL tokens a prompt instead of G·(P + L).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from strive_rl.policy.block import Block, layout, padded, visible
from strive_rl.policy.encode import Prompt
from strive_rl.policy.load import Policy
from strive_rl.policy.tokens import token_logprobs
from strive_rl.policy.vision import embed
from strive_rl.schema import Completion


def logprobs(
    policy: Policy, prompts: Sequence[Prompt], completions: Sequence[Sequence[Completion]], temperature: float
) -> torch.Tensor:
    """Log-probabilities float32 [B, L] of the tokens of completions [P][G], B = ΣG in their order.

    Rows are padded with 0 on the right up to the longest completion (`mask` says where). Differentiable with
    respect to the policy's trainable parameters; the same distribution as in `sample` at this temperature.
    """
    blocks = [
        layout(prompt.ids, prompt.positions, [completion.ids for completion in answers])
        for prompt, answers in zip(prompts, completions, strict=True)
    ]
    hidden = _hidden(policy, prompts, blocks)
    flat = [completion for answers in completions for completion in answers]
    ids = torch.tensor([token for completion in flat for token in completion.ids], device=policy.device)
    picked = token_logprobs(policy, hidden, ids, temperature)
    place = mask(flat).to(policy.device)
    return torch.zeros(place.shape, device=policy.device).masked_scatter(place, picked)


def mask(completions: Sequence[Completion]) -> torch.Tensor:
    """Bool [B, L], True at the tokens of each completion."""
    lengths = torch.tensor([len(completion.ids) for completion in completions])
    return torch.arange(int(lengths.max()))[None, :] < lengths[:, None]


def sampled_logprobs(completions: Sequence[Completion]) -> torch.Tensor:
    """Log-probabilities float32 [B, L] that the completions were sampled with, padded with 0."""
    flat = torch.tensor([value for completion in completions for value in completion.logprobs])
    place = mask(completions)
    return torch.zeros(place.shape).masked_scatter(place, flat)


def _hidden(policy: Policy, prompts: Sequence[Prompt], blocks: Sequence[Block]) -> torch.Tensor:
    """Hidden states [tokens of all completions, D] that predict them, by one forward pass."""
    columns = max(len(block.ids) for block in blocks)
    rows = [padded(block, columns) for block in blocks]
    device = policy.device
    owner = torch.from_numpy(np.stack([row.owner for row in rows])).to(device)
    is_video = _video_columns(prompts, columns).to(device)
    ids = torch.from_numpy(np.stack([row.ids for row in rows])).to(device)
    policy.model.train(policy.settings.gradient_checkpointing)
    output = policy.model.model.language_model(
        inputs_embeds=embed(policy, ids, is_video, prompts),
        position_ids=torch.from_numpy(np.stack([row.positions for row in rows], axis=1)).to(device),
        attention_mask=visible(owner)[:, None],
        use_cache=False,
    )
    row_of = np.repeat(np.arange(len(rows)), [len(row.predictors) for row in rows])
    column_of = np.concatenate([row.predictors for row in rows])
    picked: torch.Tensor = output.last_hidden_state[torch.from_numpy(row_of), torch.from_numpy(column_of)]
    return picked


def _video_columns(prompts: Sequence[Prompt], columns: int) -> torch.Tensor:
    marks = [np.pad(prompt.is_video, (0, columns - len(prompt.ids))) for prompt in prompts]
    return torch.from_numpy(np.stack(marks))
