"""Prompts and completions → log-probabilities with gradients, each prompt computed once.

The log-probability of a token, here and in sampling, is log_softmax(z/temperature)[token] in float32; z
are the logits with those of the suppressed ids at −∞. It is the distribution that is sampled from, not the
raw model's, so the ratio of training to sampling is 1 up to rounding.

Prompts and their completions are packed into one row (`packing`): the update computes P + ΣL tokens a prompt
instead of G·(P + L).

Shape letters: B completions, L tokens of the longest, T tokens of all, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from strive_rl.policy.encode import read_packed
from strive_rl.policy.layers import keeping_less
from strive_rl.policy.packing import PackedRow
from strive_rl.policy.policy import Policy
from strive_rl.schema import Completion, Prompt


def logprobs(
    policy: Policy, prompts: Sequence[Prompt], completions: Sequence[Sequence[Completion]], temperature: float
) -> torch.Tensor:
    """Log-probabilities float32 [B, L] of the tokens of completions [P][G], B = ΣG in their order, with
    gradients; padded with 0 on the right up to the longest completion (`mask` marks the tokens)."""
    policy.model.train(policy.settings.gradient_checkpointing)
    packed = PackedRow(prompts, [[each.ids for each in row] for row in completions], policy.device)
    listed = [each.ids for row in completions for each in row]
    ids = torch.tensor([token for each in listed for token in each], device=policy.device)

    def run() -> torch.Tensor:
        states_KD = read_packed(policy, packed, prompts)[0]
        return token_logprobs(policy, states_KD[packed.predictors], ids, temperature)

    with keeping_less():
        picked = policy.fsdp_forward(run)
    return pad_sequence(list(torch.split(picked, [len(each) for each in listed])), batch_first=True)


def distribution(policy: Policy, hidden: torch.Tensor, temperature: float) -> torch.Tensor:
    """Log-probabilities of all ids, float32 [..., V], after hidden states [..., D]."""
    logits = policy.model.lm_head(hidden).float().masked_fill_(policy.suppressed, -torch.inf)
    return torch.log_softmax(logits.div_(temperature), dim=-1)


def token_logprobs(
    policy: Policy, hidden_TD: torch.Tensor, ids_T: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Log-probability of each id after its hidden state, float32 [T], differentiable. One float32 chunk of
    logits [`policy.logits_chunk_tokens`, V] is held: several are made again in the backward pass."""
    made: torch.Tensor = _TokenLogprobs.apply(
        hidden_TD, policy.model.lm_head.weight, ids_T, policy.suppressed, temperature,
        policy.settings.logits_chunk_tokens,
    )  # fmt: skip
    return made


class _TokenLogprobs(torch.autograd.Function):
    """log_softmax(h·Wᵀ/temperature)[id] in chunks, its gradient (1[id] − p)·W/temperature by hand: autograd
    would keep several float32 copies of the logits."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        hidden, weight, ids, suppressed, temperature, size = inputs
        parts: list[torch.Tensor] = []
        kept: list[torch.Tensor] = []
        for states, tokens in zip(hidden.split(size), ids.split(size), strict=True):
            logits = _scaled_logits(states, weight, suppressed, temperature)
            chosen = logits.gather(-1, tokens[:, None])[:, 0]
            largest, total = _exponentials(logits)
            parts.append(chosen - largest - total.log())
            if len(ids) <= size and any(ctx.needs_input_grad):
                kept = [logits.div_(total[:, None])]
        ctx.save_for_backward(hidden, weight, ids, suppressed, *kept)
        ctx.temperature, ctx.size = temperature, size
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = gradients
        hidden, weight, ids, suppressed, *kept = ctx.saved_tensors
        wanted, weight_wanted = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if wanted else None
        grad_weight = torch.zeros_like(weight) if weight_wanted else None
        for start in range(0, len(ids), ctx.size):
            part = slice(start, start + ctx.size)
            if kept:
                scale = -grad[part] / ctx.temperature
                slopes = kept[0] * scale[:, None]
            else:
                slopes = _scaled_logits(hidden[part], weight, suppressed, ctx.temperature)
                _, total = _exponentials(slopes)
                scale = -grad[part] / ctx.temperature
                slopes.mul_((scale / total)[:, None])
            slopes.scatter_add_(-1, ids[part, None], -scale[:, None])
            slopes = slopes.to(weight.dtype)
            if grad_hidden is not None:
                torch.mm(slopes, weight, out=grad_hidden[part])
            if grad_weight is not None:
                grad_weight.addmm_(slopes.T, hidden[part])
        return grad_hidden, grad_weight, None, None, None, None


def _scaled_logits(
    states: torch.Tensor, weight: torch.Tensor, suppressed: torch.Tensor, temperature: float
) -> torch.Tensor:
    logits = torch.nn.functional.linear(states, weight).float()
    return logits.masked_fill_(suppressed, -torch.inf).div_(temperature)


def _exponentials(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn logits into exp(logit − largest) in place; the largest and the sum of each row."""
    largest = logits.amax(dim=-1)
    total = logits.sub_(largest[:, None]).exp_().sum(dim=-1)
    return largest, total


def mask(completions: Sequence[Completion]) -> torch.Tensor:
    """Bool [B, L], True at the tokens of each completion."""
    lengths = torch.tensor([len(completion.ids) for completion in completions])
    return torch.arange(int(lengths.max()))[None, :] < lengths[:, None]


def sampled_logprobs(completions: Sequence[Completion]) -> torch.Tensor:
    """Log-probabilities float32 [B, L] that the completions were sampled with, padded with 0."""
    return pad_sequence([torch.tensor(each.logprobs) for each in completions], batch_first=True)
