"""Every loss against a plain reference, by value and gradient; cuts and padding must change nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from strive_rl.algorithm.loss import (
    KL_ESTIMATORS,
    LOG_RATIO_BOUND,
    TokenBatch,
    k3,
    policy_loss,
    policy_ratio,
    token_weights,
)
from strive_rl.config import AlgorithmSettings, LossName
from tests.strive_rl.algorithm.made_batches import LENGTHS, TENSORS, changed, made_batch, plain_loss

LOSSES: tuple[LossName, ...] = ("grpo", "dr_grpo", "dapo", "gspo")


def test_what_would_broadcast_or_counts_nothing_is_refused() -> None:
    batch = made_batch()
    for name in ("old_logprobs", "mask", "reference_logprobs", "rollout_logprobs"):
        with pytest.raises(ValueError, match=rf"{name}.*expected one shape \[B, L\]"):
            changed(batch, **{name: getattr(batch, name)[:, :1]})
    with pytest.raises(ValueError, match=r"advantages of shape \(1,\), expected \[6\]"):
        changed(batch, advantages=torch.ones(1))
    with pytest.raises(ValueError, match="completions 0, tokens 3"):
        policy_loss(batch, AlgorithmSettings(), completions=0, tokens=3)


LOG_RATIO_BL = torch.tensor([[math.log(2), math.log(8), 0.0], [math.log(3), 0.0, 0.0]], dtype=torch.float64)
MASK_BL = torch.tensor([[True, True, False], [True, False, False]])


def test_of_tokens_and_of_sequences() -> None:
    expected = torch.tensor([[2, 8, 1], [3, 1, 1]], dtype=torch.float64)
    torch.testing.assert_close(policy_ratio(LOG_RATIO_BL, MASK_BL, "dapo"), expected)
    # The geometric mean over the real tokens: √16 and 3.
    expected = torch.tensor([[4.0] * 3, [3.0] * 3], dtype=torch.float64)
    torch.testing.assert_close(policy_ratio(LOG_RATIO_BL, MASK_BL, "gspo"), expected)


RAGGED_BL = torch.tensor([[True, True, True, True], [True, False, False, False], [False] * 4])


def test_weights_by_hand() -> None:
    # A piece of three completions of a step of 10 completions and 50 tokens.
    by_completion = [[1 / 40], [1 / 10], [1 / 10]]
    expected = {"grpo": by_completion, "gspo": by_completion, "dr_grpo": [[1 / 40]], "dapo": [[1 / 50]]}
    for name in LOSSES:
        settings = AlgorithmSettings(loss=name, loss_constant_tokens=4)
        weights = token_weights(RAGGED_BL, settings, completions=10, tokens=50)
        torch.testing.assert_close(weights, torch.tensor(expected[name], dtype=torch.float64))


def expectations(name: str) -> tuple[float, torch.Tensor, float, torch.Tensor, torch.Tensor]:
    """E[estimate], E[its gradient], and of KL(π‖ref) value and gradient, and the gradient of KL(ref‖π)."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(6, generator=generator, dtype=torch.float64).requires_grad_()
    reference = torch.randn(6, generator=generator, dtype=torch.float64).log_softmax(-1)
    logprobs = logits.log_softmax(-1)
    probabilities = logprobs.exp().detach()
    estimate = (probabilities * KL_ESTIMATORS[name](reference - logprobs)).sum()
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
    assert tuple(float(KL_ESTIMATORS[name](reference - new)) for name in ("k1", "k2")) == (1.0, 0.5)
    assert abs(float(k3(reference - new)) - 0.3678794) < 1e-6
    random = torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(k3(random).min()) >= 0


SIZE = {"completions": len(LENGTHS), "tokens": sum(LENGTHS)}
# Each loss alone, and with both extra terms.
CASES = [
    AlgorithmSettings(loss=loss, loss_constant_tokens=16, clip_low=0.1, clip_high=0.15, **extra)
    for loss, extra in product(
        LOSSES, ({}, {"kl_beta": 0.3, "importance_cap": 1.1}, {"kl_beta": 0.2, "kl_estimator": "k2"})
    )
]
EACH = pytest.mark.parametrize("settings", CASES, ids=lambda each: f"{each.loss}-{each.kl_beta}")
GRPO = CASES[0]


def run(
    batch: TokenBatch, settings: AlgorithmSettings, completions: int, tokens: int
) -> tuple[float, torch.Tensor, dict[str, float]]:
    """Loss, gradient with respect to the log-probabilities, metrics."""
    logprobs = batch.logprobs.clone().requires_grad_()
    loss, metrics = policy_loss(
        changed(batch, logprobs=logprobs), settings, completions=completions, tokens=tokens
    )
    loss.backward()
    assert logprobs.grad is not None
    return float(loss.detach()), logprobs.grad, metrics


def of_ratios(*ratios: float, advantage: float = 1.0) -> TokenBatch:
    """One completion, whose tokens have these ratios to the old policy."""
    logprobs = torch.tensor([ratios], dtype=torch.float64).log()
    return TokenBatch(
        logprobs=logprobs,
        old_logprobs=torch.zeros_like(logprobs),
        mask=torch.ones_like(logprobs),
        advantages=torch.tensor([advantage]),
    )


def test_on_policy_by_hand() -> None:
    # ρ = 1, A = 2 on three tokens and −1 on one.
    logprobs = torch.full((2, 3), -0.7)
    batch = TokenBatch(
        logprobs=logprobs,
        old_logprobs=logprobs,
        mask=torch.tensor([[1, 1, 1], [1, 0, 0]]),
        advantages=torch.tensor([2.0, -1.0]),
    )
    expected = {"grpo": -1 / 2, "dr_grpo": -(6 - 1) / 10 / 2, "dapo": -(6 - 1) / 4, "gspo": -1 / 2}
    for loss in LOSSES:
        settings = AlgorithmSettings(loss=loss, loss_constant_tokens=10)
        assert run(batch, settings, 2, 4)[0] == pytest.approx(expected[loss])


def test_on_policy_gspo_is_grpo() -> None:
    """So a study of one update a step cannot tell them apart."""
    batch = made_batch()
    batch = changed(batch, old_logprobs=batch.logprobs.detach())
    (grpo, by_grpo, _), (gspo, by_gspo, _) = (
        run(batch, AlgorithmSettings(loss=loss), 6, 24) for loss in ("grpo", "gspo")
    )
    assert grpo == pytest.approx(gspo)
    torch.testing.assert_close(by_grpo, by_gspo)


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
def test_clip_by_hand(ratio: float, advantage: float, expected: float, clipped: bool) -> None:
    batch = of_ratios(ratio, advantage=advantage)
    for loss in LOSSES[:1] + LOSSES[2:]:
        settings = AlgorithmSettings(loss=loss, clip_low=0.1, clip_high=0.3)
        value, gradient, metrics = run(batch, settings, 1, 1)
        assert value == pytest.approx(expected)
        assert float(gradient) == pytest.approx(0 if clipped else -ratio * advantage)
        assert metrics["clipped"] == clipped
        assert metrics["ratio"] == pytest.approx(ratio)
        assert metrics["kl"] == pytest.approx(ratio - 1 - math.log(ratio))


def test_gspo_clips_whole_responses() -> None:
    """Tokens of ratios 2 and ½: the sequence's ratio is 1 and nothing is clipped; token by token one is."""
    batch = of_ratios(2, 1 / 2)
    _, gradient, metrics = run(batch, AlgorithmSettings(loss="gspo", clip_low=0.2, clip_high=0.2), 1, 2)
    assert metrics["clipped"] == 0
    # s·A·(1/|y|) at each token.
    torch.testing.assert_close(gradient, torch.full((1, 2), -0.5, dtype=torch.float64))
    assert run(batch, AlgorithmSettings(), 1, 2)[2]["clipped"] == 1


def test_importance_by_hand() -> None:
    """π_old/π_rollout = 4 and ½ with a cap of 2: weights 2 and ½, no gradient through them."""
    rollout = torch.tensor([[-math.log(4), math.log(2)]], dtype=torch.float64)
    batch = changed(of_ratios(1, 1), rollout_logprobs=rollout)
    value, gradient, metrics = run(batch, AlgorithmSettings(importance_cap=2.0), 1, 2)
    assert value == pytest.approx(-(2 + 0.5) / 2)
    torch.testing.assert_close(gradient, torch.tensor([[-1.0, -0.25]], dtype=torch.float64))
    assert (metrics["importance"], metrics["capped"]) == (2.5, 1)


@EACH
@pytest.mark.parametrize("seed", [0, 1])
def test_as_plain_python_has_it(settings: AlgorithmSettings, seed: int) -> None:
    batch = made_batch(seed)
    value, gradient, _ = run(batch, settings, **SIZE)
    assert value == pytest.approx(plain_loss(batch, settings, **SIZE), abs=1e-12)
    # The gradient of the plain loss by central differences.
    for row, column in product(range(len(LENGTHS)), range(max(LENGTHS))):
        step = torch.zeros_like(batch.logprobs)
        step[row, column] = 1e-6
        above, below = (
            plain_loss(changed(batch, logprobs=batch.logprobs + sign * step), settings, **SIZE)
            for sign in (1, -1)
        )
        assert float(gradient[row, column]) == pytest.approx((above - below) / 2e-6, abs=1e-8)


@EACH
@pytest.mark.parametrize("cuts", [[6], [1, 5], [2, 2, 2], [1] * 6])
def test_micro_batches_add_up_to_the_batch(settings: AlgorithmSettings, cuts: list[int]) -> None:
    batch = made_batch()
    whole, whole_gradient, whole_metrics = run(batch, settings, **SIZE)
    pieces = zip(*(getattr(batch, name).split(cuts) for name in TENSORS), strict=True)
    parts = [run(TokenBatch(**dict(zip(TENSORS, piece, strict=True))), settings, **SIZE) for piece in pieces]
    assert sum(loss for loss, _, _ in parts) == pytest.approx(whole, abs=1e-12)
    gradient = torch.cat([gradient for _, gradient, _ in parts])
    torch.testing.assert_close(gradient, whole_gradient, atol=1e-12, rtol=0)
    for name, value in whole_metrics.items():
        assert sum(metrics[name] for _, _, metrics in parts) == pytest.approx(value, abs=1e-12)


@given(
    st.sampled_from(CASES),
    st.lists(st.integers(1, 9), min_size=2, max_size=8),
    st.integers(0, 2**16),
    st.data(),
)
def test_no_cut_or_order_changes_the_gradient_of_the_logits(
    settings: AlgorithmSettings, lengths: list[int], seed: int, data: st.DataObject
) -> None:
    """Ragged batches of logits, in any order, cut anywhere, each piece padded to its own longest response."""
    count, vocabulary = len(lengths), 5
    generator = torch.Generator().manual_seed(seed)
    batch = made_batch(seed, tuple(lengths))
    shape = (count, max(lengths), vocabulary)
    logits_BLV = torch.randn(shape, generator=generator, dtype=torch.float64)
    ids_BL = torch.randint(vocabulary, shape[:2], generator=generator)

    def gradient_of(pieces: list[list[int]]) -> torch.Tensor:
        logits = logits_BLV.clone().requires_grad_()
        for rows in pieces:
            width = max(lengths[row] for row in rows)
            logprobs = logits.log_softmax(-1).gather(-1, ids_BL[..., None])[..., 0]
            part = changed(batch, logprobs=logprobs)
            cut = {name: getattr(part, name)[rows] for name in TENSORS}
            cut |= {name: cut[name][:, :width] for name in TENSORS if name != "advantages"}
            loss, _ = policy_loss(TokenBatch(**cut), settings, completions=count, tokens=sum(lengths))
            loss.backward()
        assert logits.grad is not None
        return logits.grad

    order = data.draw(st.permutations(range(count)))
    at = data.draw(st.integers(1, count - 1))
    whole = gradient_of([list(range(count))])
    torch.testing.assert_close(gradient_of([list(order[:at]), list(order[at:])]), whole, atol=1e-6, rtol=0)


@EACH
@pytest.mark.parametrize("padding", [0.0, -1e9, math.inf, math.nan])
def test_padding_changes_nothing(settings: AlgorithmSettings, padding: float) -> None:
    batch = made_batch()
    expected, expected_gradient, expected_metrics = run(batch, settings, **SIZE)
    wide: dict[str, Any] = {"advantages": batch.advantages}
    for name in TENSORS:
        if name == "mask":
            wide[name] = torch.cat([batch.mask, torch.zeros(6, 4, dtype=torch.bool)], dim=1)
        elif name != "advantages":
            filled = getattr(batch, name).masked_fill(~batch.mask, padding)
            wide[name] = torch.cat([filled, torch.full((6, 4), padding, dtype=torch.float64)], dim=1)
    value, gradient, metrics = run(TokenBatch(**wide), settings, **SIZE)
    assert value == pytest.approx(expected, abs=1e-15)
    torch.testing.assert_close(gradient[:, :7], expected_gradient, atol=1e-15, rtol=0)
    assert not gradient[:, 7:].any()
    assert metrics == pytest.approx(expected_metrics)


def test_what_a_token_weighs() -> None:
    """A completion of 7 tokens and one of 1: alike as completions (GRPO, GSPO), or token for token."""
    batch = made_batch(lengths=(7, 1), spread=0.0)
    batch = changed(batch, advantages=torch.ones(2, dtype=torch.float64))
    for loss, share in (("grpo", 1.0), ("gspo", 1.0), ("dr_grpo", 1 / 7), ("dapo", 1 / 7)):
        sums = run(batch, AlgorithmSettings(loss=loss), 2, 8)[1].sum(dim=1)
        assert float(sums[1] / sums[0]) == pytest.approx(share)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_completion_without_tokens_has_no_loss(loss: Any) -> None:
    batch = changed(made_batch(lengths=(2,)), mask=torch.zeros(1, 2))
    value, gradient, metrics = run(batch, AlgorithmSettings(loss=loss, kl_beta=1.0), 4, 9)
    assert value == 0
    assert not gradient.any()
    assert metrics["tokens"] == 0


def test_zero_advantage_has_zero_gradient_and_nothing_clipped() -> None:
    batch = made_batch()
    _, gradient, metrics = run(changed(batch, advantages=0 * batch.advantages), GRPO, **SIZE)
    assert not gradient.any()
    assert metrics["clipped"] == 0


def test_no_beta_and_no_cap_look_at_no_other_model() -> None:
    batch = made_batch()
    alone = changed(batch, reference_logprobs=None, rollout_logprobs=None)
    assert run(alone, GRPO, **SIZE)[0] == run(batch, GRPO, **SIZE)[0]
    assert set(run(batch, GRPO, **SIZE)[2]) == {"loss", "tokens", "ratio", "clipped", "kl"}


@pytest.mark.parametrize(
    ("extra", "needed"), [({"kl_beta": 0.1}, "reference"), ({"importance_cap": 2.0}, "rollout")]
)
def test_missing_log_probabilities_are_named(extra: dict[str, Any], needed: str) -> None:
    alone = changed(made_batch(), reference_logprobs=None, rollout_logprobs=None)
    with pytest.raises(ValueError, match=f"the batch has no {needed} log-probabilities"):
        policy_loss(alone, replace(GRPO, **extra), **SIZE)


EXTREMES = st.sampled_from([-200.0, 200.0]) | st.floats(-200, 200, width=16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("loss", LOSSES)
@given(
    st.lists(
        st.tuples(EXTREMES, EXTREMES, EXTREMES, st.sampled_from([-3.0, 0.0, 3.0])), min_size=1, max_size=6
    )
)
def test_log_ratios_of_any_size_give_finite_losses_and_gradients(
    loss: LossName, dtype: torch.dtype, rows: list[tuple[float, float, float, float]]
) -> None:
    """To the policy before, the reference and the rollout; a clipped token's gradient is exactly 0."""
    columns = [torch.tensor(column, dtype=dtype) for column in zip(*rows, strict=True)]
    new_B1, reference_B1, rollout_B1 = (column[:, None] for column in columns[:3])
    batch = TokenBatch(
        logprobs=new_B1,
        old_logprobs=torch.zeros_like(new_B1),
        mask=torch.ones_like(new_B1),
        advantages=columns[3],
        reference_logprobs=new_B1 + reference_B1,
        rollout_logprobs=rollout_B1,
    )
    size = {"completions": len(rows), "tokens": len(rows)}
    for extra in ({}, {"kl_beta": 0.1}, {"importance_cap": 2.0}):
        value, gradient, metrics = run(batch, AlgorithmSettings(loss=loss, **extra), **size)
        assert math.isfinite(value)
        assert bool(gradient.isfinite().all())
        assert all(map(math.isfinite, metrics.values()))
    _, gradient, metrics = run(batch, AlgorithmSettings(loss=loss), **size)
    far_above = (new_B1[:, 0] > 1) & (columns[3] > 0)
    far_below = (new_B1[:, 0] < -1) & (columns[3] < 0)
    assert metrics["clipped"] >= int((far_above | far_below).sum())
    assert not gradient[far_above | far_below].any()


@given(st.floats(-18, 18))
def test_the_bound_changes_no_ratio_within_it(log_ratio: float) -> None:
    ratio = torch.tensor([[log_ratio]], dtype=torch.float64)
    mask = torch.ones(1, 1, dtype=torch.bool)
    assert abs(log_ratio) < LOG_RATIO_BOUND
    for name in LOSSES:
        assert torch.equal(policy_ratio(ratio, mask, name), ratio.exp())
    assert torch.equal(k3(ratio), ratio.exp() - 1 - ratio)


@pytest.mark.parametrize("log_ratio", [-200.0, 200.0])
def test_k3_far_from_the_reference_pulls_back_or_stops_but_never_pushes_away(log_ratio: float) -> None:
    value = torch.tensor(log_ratio, requires_grad=True)
    k3(value).backward()
    assert value.grad is not None
    assert float(value.grad) == (-1 if log_ratio < 0 else 0)
