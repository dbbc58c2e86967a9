"""The policy-gradient loss as a pure function of log-probabilities and advantages (METHOD.md section 5).

Shapes: B responses of a micro-batch, L tokens of the longest of them (right padding is masked out).
"""

from __future__ import annotations

import torch
from torch import Tensor

from strive_rl.config import AlgorithmSettings


def policy_loss(
    logprobs_BL: Tensor,
    old_logprobs_BL: Tensor,
    mask_BL: Tensor,
    advantages_B: Tensor,
    *,
    settings: AlgorithmSettings,
    responses: int,
) -> tuple[Tensor, dict[str, float]]:
    """Loss to minimise (scalar) and metrics, of one micro-batch of an update over `responses` responses.

    Each token pays −min(ρ·A, clip(ρ, 1 − clip_low, 1 + clip_high)·A), ρ = exp(logprobs − old_logprobs). A
    response pays their mean over its tokens (`grpo`) or their sum / loss_constant_tokens (`dr_grpo`), and the
    batch the mean over its `responses`: so the losses and gradients of micro-batches **add up** to those of
    the whole batch, however it is cut. A response without tokens pays 0 and still counts in `responses`.

    `mask_BL` is true (or 1) at the tokens of the response, its end token included. Padding may hold anything,
    NaN too. Metrics are sums over this micro-batch, to be added up and divided by `tokens` at the end:
    `tokens`, `ratio` (ρ), `clipped` (tokens whose gradient the clip cut off), `kl` (k3 estimate of
    KL(sampling policy ‖ policy), ρ − 1 − ln ρ, at least 0); and `loss`, which adds up as it is.
    Raises ValueError for shapes that do not agree.
    """
    _check_shapes(logprobs_BL, old_logprobs_BL, mask_BL, advantages_B, responses)
    mask = mask_BL.bool()
    # Masked before exp: an infinite or NaN padding would otherwise put NaN into the gradient (0·NaN).
    log_ratio = (logprobs_BL - old_logprobs_BL.detach()).masked_fill(~mask, 0.0)
    ratio = log_ratio.exp()
    clipped_ratio = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
    advantages = advantages_B.to(ratio.dtype)[:, None]
    free, bounded = ratio * advantages, clipped_ratio * advantages
    token_losses = -torch.minimum(free, bounded).masked_fill(~mask, 0.0)
    loss = _per_response(token_losses, mask, settings).sum() / responses
    with torch.no_grad():
        metrics = {
            "tokens": float(mask.sum()),
            "ratio": float(ratio[mask].sum()),
            "clipped": float(((bounded < free) & mask).sum()),
            "kl": float((ratio - 1 - log_ratio)[mask].sum()),
            "loss": float(loss),
        }
    return loss, metrics


def _per_response(token_losses_BL: Tensor, mask_BL: Tensor, settings: AlgorithmSettings) -> Tensor:
    """Loss of each response [B]: METHOD.md's GRPO token mean, or Dr.GRPO's sum over a constant."""
    sums_B = token_losses_BL.sum(dim=1)
    if settings.loss == "dr_grpo":
        return sums_B / settings.loss_constant_tokens
    return sums_B / mask_BL.sum(dim=1).clamp(min=1)


def _check_shapes(
    logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, advantages: Tensor, responses: int
) -> None:
    """Broadcasting would turn a wrong shape into a wrong loss, so all are compared."""
    if logprobs.ndim != 2 or not logprobs.shape == old_logprobs.shape == mask.shape:
        got = [tuple(t.shape) for t in (logprobs, old_logprobs, mask)]
        raise ValueError(f"logprobs, old_logprobs and mask of shapes {got}, expected one shape [B, L]")
    if advantages.shape != logprobs.shape[:1]:
        raise ValueError(f"advantages of shape {tuple(advantages.shape)}, expected [{logprobs.shape[0]}]")
    if responses < logprobs.shape[0]:
        raise ValueError(f"responses {responses} of the batch, fewer than the {logprobs.shape[0]} given here")
