"""The policy-gradient loss of a micro-batch.

Shapes: B responses of a micro-batch, L tokens of the longest of them (right padding is masked out).
"""

from __future__ import annotations

import torch
from torch import Tensor

from strive_rl.config import LossName
from strive_rl.loss.divergence import ESTIMATORS
from strive_rl.loss.inputs import Objective, TokenBatch
from strive_rl.loss.ratio import RATIOS, truncated
from strive_rl.loss.reduction import WEIGHTS

Values = dict[str, Tensor]


def policy_loss(batch: TokenBatch, objective: Objective) -> tuple[Tensor, dict[str, float]]:
    """Loss to minimise (scalar) and metrics, of one micro-batch of an optimizer step.

    Each token pays −w·min(ρ·A, clip(ρ, 1 − clip_low, 1 + clip_high)·A) + kl_beta·KL, with ρ by `ratio` and
    the importance weight w = min(π_old/π_rollout, cap), or 1 without a cap; `reduction` says what it weighs.
    Losses and gradients of micro-batches **add up** to those of the whole step, however it is cut.

    Metrics are sums over this micro-batch's tokens, to be added up and divided by `tokens` at the end:
    `ratio` (ρ), `clipped` (tokens whose gradient the clip cut off), `kl` (k3 estimate of KL(old ‖ policy), at
    least 0), `reference_kl` where there is a reference, `importance` (w) and `capped` where there is a cap;
    and `loss`, which adds up as it is. Raises ValueError where the objective needs what the batch lacks.
    """
    mask_BL = batch.mask.bool()
    losses_BL, values = _surrogate(batch, mask_BL, objective)
    if objective.importance_cap is not None:
        weights_BL, seen = _importance(batch, mask_BL, objective.loss, objective.importance_cap)
        losses_BL, values = losses_BL * weights_BL, values | seen
    if objective.kl_beta:
        divergence_BL = _divergence(batch, mask_BL, objective)
        losses_BL = losses_BL + objective.kl_beta * divergence_BL
        values["reference_kl"] = divergence_BL
    weights_B1 = WEIGHTS[objective.loss](mask_BL, objective).to(losses_BL.dtype)
    loss = (losses_BL.masked_fill(~mask_BL, 0.0) * weights_B1).sum()
    metrics = {name: float(value.detach()[mask_BL].sum()) for name, value in values.items()}
    return loss, metrics | {"tokens": float(mask_BL.sum()), "loss": float(loss.detach())}


def _surrogate(batch: TokenBatch, mask_BL: Tensor, objective: Objective) -> tuple[Tensor, Values]:
    """−min(ρ·A, clip(ρ)·A) of each token, and what to see of ρ."""
    log_ratio_BL = _difference(batch.logprobs, batch.old_logprobs.detach(), mask_BL)
    ratio_BL = RATIOS[objective.loss](log_ratio_BL, mask_BL)
    bounded_BL = ratio_BL.clamp(1 - objective.clip_low, 1 + objective.clip_high)
    advantages_B1 = batch.advantages.to(ratio_BL.dtype)[:, None]
    gains_BL, bounded_gains_BL = ratio_BL * advantages_B1, bounded_BL * advantages_B1
    values = {
        "ratio": ratio_BL,
        "clipped": bounded_gains_BL < gains_BL,
        "kl": log_ratio_BL.exp() - 1 - log_ratio_BL,
    }
    return -torch.minimum(gains_BL, bounded_gains_BL), values


def _importance(batch: TokenBatch, mask_BL: Tensor, loss: LossName, cap: float) -> tuple[Tensor, Values]:
    """Truncated weight of each token (of each response under GSPO)."""
    rollout_BL = _needed(batch.rollout_logprobs, "rollout log-probabilities, for importance_cap")
    log_ratio_BL = _difference(batch.old_logprobs.detach(), rollout_BL.detach(), mask_BL)
    ratio_BL = RATIOS[loss](log_ratio_BL, mask_BL)
    weights_BL = truncated(ratio_BL, cap)
    return weights_BL, {"importance": weights_BL, "capped": ratio_BL > cap}


def _divergence(batch: TokenBatch, mask_BL: Tensor, objective: Objective) -> Tensor:
    reference_BL = _needed(batch.reference_logprobs, "reference log-probabilities, for kl_beta")
    zero = batch.logprobs.new_zeros(())
    both = (torch.where(mask_BL, each, zero) for each in (batch.logprobs, reference_BL.detach()))
    return ESTIMATORS[objective.kl_estimator](*both)


def _difference(logprobs_BL: Tensor, others_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """Log-ratio, 0 where padded. Masked before exp: a NaN there would reach the gradient (0·NaN)."""
    return (logprobs_BL - others_BL).masked_fill(~mask_BL, 0.0)


def _needed(logprobs_BL: Tensor | None, what: str) -> Tensor:
    if logprobs_BL is None:
        raise ValueError(f"the batch has no {what}")
    return logprobs_BL
