"""The one place that says what a log-probability of a token is.

log π(token) = log_softmax(z/temperature)[token] in float32, where z are the logits with those of the
suppressed ids at −∞. Rollout and training both use it, so their ratio is 1 but for rounding; it is the
distribution that is sampled from, not the raw model's.
"""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from strive_rl.policy.model import Policy


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
