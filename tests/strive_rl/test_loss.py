"""The loss against hand-worked numbers and formulas; micro-batches and padding must change nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from strive_rl.config import AlgorithmSettings
from strive_rl.loss import policy_loss

GRPO = AlgorithmSettings()
DR_GRPO = AlgorithmSettings(loss="dr_grpo", loss_constant_tokens=16)
BOTH = pytest.mark.parametrize("settings", [GRPO, DR_GRPO], ids=["grpo", "dr_grpo"])
SHARED_LENGTHS = (5, 1, 3, 7, 2, 6)


def batch(lengths=SHARED_LENGTHS, width=7):
    """Log-probabilities on both sides of both clips; each row's first `length` tokens are real."""
    generator = torch.Generator().manual_seed(0)
    shape = (len(lengths), width)
    old_BL = -3 * torch.rand(shape, generator=generator, dtype=torch.float64)
    new_BL = old_BL + 0.4 * torch.randn(shape, generator=generator, dtype=torch.float64)
    mask_BL = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    advantages_B = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
    return new_BL, old_BL, mask_BL, advantages_B


def loss_and_gradient(new_BL, old_BL, mask_BL, advantages_B, settings, responses):
    new_BL = new_BL.clone().requires_grad_()
    loss, metrics = policy_loss(new_BL, old_BL, mask_BL, advantages_B, settings=settings, responses=responses)
    loss.backward()
    return loss.detach(), new_BL.grad, metrics


def test_on_policy_by_hand():
    # ρ = 1: GRPO −(2·1 + (−1)·1)/2; Dr.GRPO −(2·3 − 1·1)/10/2
    logprobs_BL = torch.full((2, 3), -0.7)
    mask_BL = torch.tensor([[1, 1, 1], [1, 0, 0]])
    advantages_B = torch.tensor([2.0, -1.0])
    grpo, _ = policy_loss(logprobs_BL, logprobs_BL, mask_BL, advantages_B, settings=GRPO, responses=2)
    assert float(grpo) == pytest.approx(-0.5)
    dr_grpo = replace(DR_GRPO, loss_constant_tokens=10)
    loss, _ = policy_loss(logprobs_BL, logprobs_BL, mask_BL, advantages_B, settings=dr_grpo, responses=2)
    assert float(loss) == pytest.approx(-0.25)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "clipped"),
    [
        (1.5, 1.0, -1.3, True),
        (1.5, -1.0, 1.5, False),
        (0.5, 1.0, -0.5, False),
        (0.5, -1.0, 0.9, True),
        (1.1, 1.0, -1.1, False),
    ],
)
def test_clip_by_hand(ratio, advantage, expected, clipped):
    settings = AlgorithmSettings(clip_low=0.1, clip_high=0.3)
    new_BL = torch.tensor([[math.log(ratio)]], dtype=torch.float64)
    mask_BL, old_BL = torch.ones(1, 1), torch.zeros(1, 1, dtype=torch.float64)
    loss, gradient, metrics = loss_and_gradient(
        new_BL, old_BL, mask_BL, torch.tensor([advantage]), settings, responses=1
    )
    assert float(loss) == pytest.approx(expected)
    assert float(gradient) == pytest.approx(0 if clipped else -ratio * advantage)
    assert metrics["clipped"] == clipped
    assert metrics["ratio"] == pytest.approx(ratio)
    assert metrics["kl"] == pytest.approx(ratio - 1 - math.log(ratio))


@BOTH
def test_gradient_by_formula(settings):
    """∂loss/∂logprob = −A·ρ·[not clipped]/(divisor·responses) at real tokens, 0 elsewhere."""
    new_BL, old_BL, mask_BL, advantages_B = batch()
    _, gradient, _ = loss_and_gradient(new_BL, old_BL, mask_BL, advantages_B, settings, responses=6)
    for row, length in enumerate(SHARED_LENGTHS):
        divisor = length if settings.loss == "grpo" else settings.loss_constant_tokens
        for token in range(7):
            ratio = math.exp(float(new_BL[row, token] - old_BL[row, token]))
            advantage = float(advantages_B[row])
            cut = ratio > 1.2 if advantage > 0 else ratio < 0.8
            expected = 0.0 if cut or token >= length else -advantage * ratio / divisor / 6
            assert float(gradient[row, token]) == pytest.approx(expected, abs=1e-14)


@BOTH
@pytest.mark.parametrize("cuts", [[6], [1, 5], [2, 2, 2], [1] * 6])
def test_micro_batches_add_up_to_the_batch(settings, cuts):
    tensors = batch()
    whole, whole_gradient, whole_metrics = loss_and_gradient(*tensors, settings, responses=6)
    parts = [
        loss_and_gradient(*piece, settings, responses=6)
        for piece in zip(*(tensor.split(cuts) for tensor in tensors), strict=True)
    ]
    assert float(sum(loss for loss, _, _ in parts)) == pytest.approx(float(whole), abs=1e-12)
    gradient = torch.cat([gradient for _, gradient, _ in parts])
    torch.testing.assert_close(gradient, whole_gradient, atol=1e-12, rtol=0)
    for name, value in whole_metrics.items():
        assert sum(metrics[name] for _, _, metrics in parts) == pytest.approx(value, abs=1e-12)


@BOTH
@pytest.mark.parametrize("filler", [0.0, -1e9, math.inf, math.nan])
def test_padding_changes_nothing(settings, filler):
    new_BL, old_BL, mask_BL, advantages_B = batch()
    expected, expected_gradient, expected_metrics = loss_and_gradient(
        new_BL, old_BL, mask_BL, advantages_B, settings, responses=6
    )
    pad = torch.full((6, 4), filler, dtype=torch.float64)
    new_BL = torch.cat([new_BL.masked_fill(~mask_BL, filler), pad], dim=1)
    old_BL = torch.cat([old_BL, torch.zeros(6, 4, dtype=torch.float64)], dim=1)
    mask_BL = torch.cat([mask_BL, torch.zeros(6, 4, dtype=torch.bool)], dim=1)
    loss, gradient, metrics = loss_and_gradient(new_BL, old_BL, mask_BL, advantages_B, settings, responses=6)
    assert float(loss) == pytest.approx(float(expected), abs=1e-15)
    torch.testing.assert_close(gradient[:, :7], expected_gradient, atol=1e-15, rtol=0)
    assert not gradient[:, 7:].any()
    assert metrics == pytest.approx(expected_metrics)


def test_grpo_weighs_responses_and_dr_grpo_tokens():
    _, old_BL, _, _ = batch((7, 7))
    mask_BL = torch.tensor([[True] * 7, [True] + [False] * 6])
    ones = torch.ones(2, dtype=torch.float64)
    for settings, share in ((GRPO, 1.0), (DR_GRPO, 1 / 7)):
        _, gradient, _ = loss_and_gradient(old_BL, old_BL, mask_BL, ones, settings, responses=2)
        sums = gradient.sum(dim=1)
        assert float(sums[1] / sums[0]) == pytest.approx(share)


def test_response_without_tokens_pays_nothing():
    logprobs_BL = torch.full((1, 2), -1.0, dtype=torch.float64)
    loss, gradient, metrics = loss_and_gradient(
        logprobs_BL, logprobs_BL, torch.zeros(1, 2), torch.ones(1), GRPO, responses=4
    )
    assert float(loss) == 0
    assert not gradient.any()
    assert metrics["tokens"] == 0


def test_zero_advantage_has_zero_gradient_and_nothing_clipped():
    new_BL, old_BL, mask_BL, advantages_B = batch()
    _, gradient, metrics = loss_and_gradient(new_BL, old_BL, mask_BL, 0 * advantages_B, GRPO, responses=6)
    assert not gradient.any()
    assert metrics["clipped"] == 0


@pytest.mark.parametrize("wrong", ["old", "mask", "advantages", "responses"])
def test_shapes_that_would_broadcast_are_refused(wrong):
    new_BL, old_BL, mask_BL, advantages_B = batch()
    old_BL = old_BL[:, :1] if wrong == "old" else old_BL
    mask_BL = mask_BL[:1] if wrong == "mask" else mask_BL
    advantages_B = advantages_B[:1] if wrong == "advantages" else advantages_B
    with pytest.raises(ValueError, match=r"expected|fewer"):
        policy_loss(
            new_BL,
            old_BL,
            mask_BL,
            advantages_B,
            settings=GRPO,
            responses=2 if wrong == "responses" else 6,
        )
