"""The estimators of the divergence in expectation, over a vocabulary small enough to add up exactly."""

from __future__ import annotations

import torch

from strive_rl.loss.divergence import ESTIMATORS, k1, k2, k3


def expectations(name: str) -> tuple[float, torch.Tensor, float, torch.Tensor, torch.Tensor]:
    """E[estimate], E[its gradient], and of KL(π‖ref) value and gradient, and the gradient of KL(ref‖π)."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(6, generator=generator, dtype=torch.float64).requires_grad_()
    reference = torch.randn(6, generator=generator, dtype=torch.float64).log_softmax(-1)
    logprobs = logits.log_softmax(-1)
    chances = logprobs.exp().detach()
    estimate = (chances * ESTIMATORS[name](logprobs, reference)).sum()
    forward = (logprobs.exp() * (logprobs - reference)).sum()
    reverse = (reference.exp() * (reference - logprobs)).sum()
    gradients = [
        torch.autograd.grad(each, logits, retain_graph=True)[0] for each in (estimate, forward, reverse)
    ]
    return float(estimate.detach()), gradients[0], float(forward.detach()), gradients[1], gradients[2]


def test_values() -> None:
    """k1 and k3 have no bias, k2 has."""
    for name, unbiased in (("k1", True), ("k2", False), ("k3", True)):
        value, _, truth, _, _ = expectations(name)
        assert (abs(value - truth) < 1e-12) == unbiased


def test_gradients() -> None:
    """In expectation: none for k1, that of KL(π‖ref) for k2, that of KL(ref‖π) for k3."""
    assert float(expectations("k1")[1].abs().max()) < 1e-15
    _, gradient, _, forward, _ = expectations("k2")
    torch.testing.assert_close(gradient, forward)
    _, gradient, _, forward, reverse = expectations("k3")
    torch.testing.assert_close(gradient, reverse)
    assert not torch.allclose(gradient, forward)


def test_by_hand_and_never_negative() -> None:
    new, reference = torch.tensor(-1.0), torch.tensor(-2.0)
    assert (float(k1(new, reference)), float(k2(new, reference))) == (1.0, 0.5)
    assert abs(float(k3(new, reference)) - 0.3678794) < 1e-6
    random = torch.randn(2, 1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(k3(*random).min()) >= 0
