"""Prompts and completions → log-probabilities with gradients, each prompt computed once.

A prompt and its G completions share one row (`block`), so the update costs P + ΣL tokens a prompt instead of
G·(P + L).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from strive_rl.policy.packing import Block, completion_columns, layout, visible
from strive_rl.policy.policy import Policy
from strive_rl.policy.vision import model_inputs
from strive_rl.schema import Completion, Prompt

# The one place that says what a log-probability of a token is.
#
# log π(token) = log_softmax(z/temperature)[token] in float32, where z are the logits with those of the
# suppressed ids at −∞. Rollout and training both use it, so their ratio is 1 but for rounding; it is the
# distribution that is sampled from, not the raw model's.


def distribution(policy: Policy, hidden: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities of all ids, float32 [..., V], after hidden states [..., D]."""
    logits = policy.logits(hidden)
    return torch.log_softmax(logits.masked_fill(policy.suppressed, -torch.inf) / temperature, dim=-1)


def token_logprobs(
    policy: Policy, hidden_TD: torch.Tensor, ids_T: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Log-probability of each id after its hidden state, float32 [T], differentiable.

    The vocabulary is projected for `policy.logits_chunk_tokens` states at a time, and again on the way back,
    so that no more than one chunk of logits [tokens, V] is ever held.
    """
    size = policy.settings.logits_chunk_tokens
    if len(ids_T) <= size:
        return _picked(policy, hidden_TD, ids_T, temperature)
    parts = [
        checkpoint(_picked, policy, hidden, ids, temperature, use_reentrant=False)
        for hidden, ids in zip(torch.split(hidden_TD, size), torch.split(ids_T, size), strict=True)
    ]
    return torch.cat(parts)


def _picked(policy: Policy, hidden_TD: torch.Tensor, ids_T: torch.Tensor, temperature: float) -> torch.Tensor:
    return distribution(policy, hidden_TD, temperature).gather(-1, ids_T[:, None])[:, 0]


def logprobs(
    policy: Policy, prompts: Sequence[Prompt], completions: Sequence[Sequence[Completion]], temperature: float
) -> torch.Tensor:
    """Log-probabilities float32 [B, L] of the tokens of completions [P][G], B = ΣG in their order.

    Rows are padded with 0 on the right up to the longest completion (`mask` says where). Differentiable with
    respect to the policy's trainable parameters; the same distribution as in `sample` at this temperature.
    """
    return policy.fsdp_forward(lambda: _logprobs(policy, prompts, completions, temperature))


def _logprobs(
    policy: Policy, prompts: Sequence[Prompt], completions: Sequence[Sequence[Completion]], temperature: float
) -> torch.Tensor:
    hidden = _hidden(policy, prompts, [[answer.ids for answer in answers] for answers in completions])
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


def _hidden(
    policy: Policy, prompts: Sequence[Prompt], answers: Sequence[Sequence[tuple[int, ...]]]
) -> torch.Tensor:
    """Hidden states [tokens of all completions, D] that predict them, by one forward pass."""
    prompt_columns = max(len(prompt.ids) for prompt in prompts)
    behind = max(completion_columns(each) for each in answers)
    rows = [
        layout(p.ids, p.positions, each, prompt_columns=prompt_columns, completion_columns=behind)
        for p, each in zip(prompts, answers, strict=True)
    ]
    columns, device = prompt_columns + behind, policy.device
    owner = torch.from_numpy(np.stack([row.owner for row in rows])).to(device)
    ids = torch.from_numpy(np.stack([row.ids for row in rows])).to(device)
    positions = torch.from_numpy(np.stack([row.positions for row in rows], axis=1)).to(device)
    split = policy.settings.attention == "split"
    policy.model.train(policy.settings.gradient_checkpointing)
    states = policy.forward(
        model_inputs(policy, ids, _video_columns(prompts, columns).to(device), prompts),
        positions,
        mask=visible(owner, prompt_columns if split else 0)[:, None],
        prompt_columns=prompt_columns if split else None,
    )
    return _predicting(states, rows)


def _predicting(states_RND: torch.Tensor, rows: Sequence[Block]) -> torch.Tensor:
    """The states that predict a token of a completion, row after row."""
    row_of = np.repeat(np.arange(len(rows)), [len(row.predictors) for row in rows])
    column_of = np.concatenate([row.predictors for row in rows])
    return states_RND[torch.from_numpy(row_of), torch.from_numpy(column_of)]


def _video_columns(prompts: Sequence[Prompt], columns: int) -> torch.Tensor:
    marks = [np.pad(prompt.is_video, (0, columns - len(prompt.ids))) for prompt in prompts]
    return torch.from_numpy(np.stack(marks))
