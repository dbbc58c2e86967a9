"""What a log-probability is: suppression first, then temperature, then log-softmax in float32."""

from __future__ import annotations

import math

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


def test_chunks_change_neither_values_nor_gradients(
    tiny_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(10, 32, generator=generator, requires_grad=True)
    ids = torch.randint(0, 250, (10,), generator=generator)
    whole = tokens.token_logprobs(tiny_policy, hidden, ids, 1.0)
    (expected,) = torch.autograd.grad(whole.sum(), hidden)
    monkeypatch.setattr(tokens, "CHUNK_TOKENS", 3)
    parts = tokens.token_logprobs(tiny_policy, hidden, ids, 1.0)
    (given,) = torch.autograd.grad(parts.sum(), hidden)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(given, expected)
