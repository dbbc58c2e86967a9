"""What a log-probability is: suppression first, then temperature, then log-softmax in float32."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from strive_rl.policy import Policy, tokens


def test_log_softmax_over_what_may_be_sampled(tiny_policy: Policy) -> None:
    hidden = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    temperature = 0.7
    logits = (tiny_policy.model.lm_head(hidden) / temperature).tolist()
    allowed = [i for i, hide in enumerate(tiny_policy.suppressed.tolist()) if not hide]
    got = tokens.distribution(tiny_policy, hidden, temperature).detach()
    for row, values in enumerate(logits):
        total = math.fsum(math.exp(values[i]) for i in allowed)
        for i in allowed[::37]:
            assert got[row, i].item() == pytest.approx(values[i] - math.log(total), abs=1e-5)
    assert torch.isneginf(got[:, tiny_policy.suppressed]).all()


def test_chunks_change_neither_values_nor_gradients(tiny_policy: Policy) -> None:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(10, 32, generator=generator, requires_grad=True)
    ids = torch.randint(0, 250, (10,), generator=generator)
    whole = tokens.token_logprobs(tiny_policy, hidden, ids, 1.0)
    (expected,) = torch.autograd.grad(whole.sum(), hidden)
    chunked = replace(tiny_policy, settings=replace(tiny_policy.settings, logits_chunk_tokens=3))
    parts = tokens.token_logprobs(chunked, hidden, ids, 1.0)
    (given,) = torch.autograd.grad(parts.sum(), hidden)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(given, expected)


def held_for_backward(policy: Policy, hidden: torch.Tensor, ids: torch.Tensor) -> int:
    """The most numbers that autograd keeps of one tensor until the backward pass."""
    sizes: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        tokens.token_logprobs(policy, hidden, ids, 1.0)
    return max(sizes)


def test_no_logits_are_held_between_the_passes_where_chunks_are_used(tiny_policy: Policy) -> None:
    """Negative control: in one chunk they are, all [tokens, V] of them."""
    hidden, ids = torch.randn(40, 32, requires_grad=True), torch.arange(40)
    vocabulary = len(tiny_policy.suppressed)
    chunked = replace(tiny_policy, settings=replace(tiny_policy.settings, logits_chunk_tokens=8))
    assert held_for_backward(tiny_policy, hidden, ids) == 40 * vocabulary
    assert held_for_backward(chunked, hidden, ids) < 8 * vocabulary
