"""The policy-gradient loss of a micro-batch.

Shapes: B responses of a micro-batch, L tokens of the longest of them (right padding is masked out).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from strive_rl.config import AlgorithmSettings, KlEstimator, LossName

# All that a loss may see: the tokens of a micro-batch, and what is asked of them.
#
# Shapes: B responses of a micro-batch, L tokens of the longest of them.


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenBatch:
    """Log-probabilities [B, L] of the sampled tokens and advantages [B] of their responses.

    `logprobs` under the policy that is trained, with gradients. Under the policy before the update:
    `old_logprobs` by the trainer (or the rollout's, by setting). `mask` is true at the tokens of the
    response, its end token included; padding may hold anything, NaN too. `reference_logprobs` under the
    reference and `rollout_logprobs` as sampled, where the objective uses them.
    """

    logprobs: Tensor
    old_logprobs: Tensor
    mask: Tensor
    advantages: Tensor
    reference_logprobs: Tensor | None = None
    rollout_logprobs: Tensor | None = None

    def __post_init__(self) -> None:
        """ValueError for shapes that do not agree: broadcasting would turn them into a wrong loss."""
        shape = self.logprobs.shape
        others = {
            "old_logprobs": self.old_logprobs,
            "mask": self.mask,
            "reference_logprobs": self.reference_logprobs,
            "rollout_logprobs": self.rollout_logprobs,
        }
        wrong = {name: tuple(t.shape) for name, t in others.items() if t is not None and t.shape != shape}
        if self.logprobs.ndim != 2 or wrong:
            raise ValueError(f"{wrong} beside logprobs of shape {tuple(shape)}, expected one shape [B, L]")
        if self.advantages.shape != shape[:1]:
            raise ValueError(f"advantages of shape {tuple(self.advantages.shape)}, expected [{shape[0]}]")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What is minimised, over an optimizer step of `responses` responses with `tokens` tokens in all.

    Both counts are those of the whole step, over all its micro-batches and processes: that is what makes the
    losses and gradients of the parts add up to those of the whole, however it is cut.
    """

    responses: int
    tokens: int
    loss: LossName = "grpo"
    clip_low: float = 0.2
    clip_high: float = 0.2
    constant_tokens: int = 768
    kl_beta: float = 0.0
    kl_estimator: KlEstimator = "k3"
    importance_cap: float | None = None

    def __post_init__(self) -> None:
        if min(self.responses, self.tokens) < 1:
            raise ValueError(f"responses {self.responses}, tokens {self.tokens}: expected at least 1 of each")

    @classmethod
    def of(cls, settings: AlgorithmSettings, *, responses: int, tokens: int) -> Objective:
        """The objective that the settings name."""
        low, high = settings.clip
        return cls(
            responses=responses,
            tokens=tokens,
            loss=settings.loss,
            clip_low=low,
            clip_high=high,
            constant_tokens=settings.loss_constant_tokens,
            kl_beta=settings.kl_beta,
            kl_estimator=settings.kl_estimator,
            importance_cap=settings.importance_cap,
        )


# Importance ratios from log-ratios. Shapes: B responses, L tokens; log-ratios are 0 where padded.

Ratio = Callable[[Tensor, Tensor], Tensor]


def token_ratio(log_ratio_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """ρ_t = exp(log-ratio of the token), [B, L]: GRPO, Dr.GRPO, DAPO."""
    return log_ratio_BL.exp()


def sequence_ratio(log_ratio_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """s = exp(mean log-ratio of the response), [B, L], the same at each token (GSPO, arXiv 2507.18071).

    Clipped and averaged token by token it gives GSPO's loss of a response, since all its tokens are alike.
    """
    tokens_B1 = mask_BL.sum(dim=1, keepdim=True).clamp(min=1)
    return (log_ratio_BL.sum(dim=1, keepdim=True) / tokens_B1).exp().expand_as(log_ratio_BL)


def truncated(ratio_BL: Tensor, cap: float) -> Tensor:
    """min(ratio, cap), without gradient: the weight of what another engine sampled.

    Truncated importance sampling with ratio = π_trainer/π_rollout, both of the weights before the update: it
    takes out the bias of sampling from another engine than the one that is trained, up to the cap.
    """
    return torch.clamp(ratio_BL.detach(), max=cap)


RATIOS: dict[LossName, Ratio] = {
    "grpo": token_ratio,
    "dr_grpo": token_ratio,
    "dapo": token_ratio,
    "gspo": sequence_ratio,
}

# What the loss of one token weighs in the loss of an optimizer step.
#
# Shapes: B responses of a micro-batch, L tokens. The counts of the objective are those of the whole step,
# so
# the weighted sums of micro-batches, and of processes, add up. A response without tokens pays nothing.
# float64.

Weights = Callable[[Tensor, Objective], Tensor]


def response_mean(mask_BL: Tensor, objective: Objective) -> Tensor:
    """1/(tokens of the response · responses), [B, 1]: GRPO and GSPO weigh all responses alike."""
    tokens_B1 = mask_BL.sum(dim=1, keepdim=True).clamp(min=1)
    return 1 / (tokens_B1.double() * objective.responses)


def constant(mask_BL: Tensor, objective: Objective) -> Tensor:
    """1/(constant · responses), [1, 1]: Dr.GRPO weighs all tokens alike, whatever the batch."""
    return _one(mask_BL, objective.constant_tokens * objective.responses)


def batch_mean(mask_BL: Tensor, objective: Objective) -> Tensor:
    """1/(tokens of the batch), [1, 1]: DAPO weighs all tokens of a batch alike."""
    return _one(mask_BL, objective.tokens)


def _one(mask_BL: Tensor, count: int) -> Tensor:
    return torch.full((1, 1), 1 / count, dtype=torch.float64, device=mask_BL.device)


WEIGHTS: dict[LossName, Weights] = {
    "grpo": response_mean,
    "dr_grpo": constant,
    "dapo": batch_mean,
    "gspo": response_mean,
}

# Estimates of KL(policy ‖ reference) from the sampled tokens, with r = π_reference/π (Schulman, 2020).
#
# As a term of the loss what counts is the gradient, in expectation over tokens of the policy itself: that
# of
# k2 is exactly the gradient of the divergence, that of k1 is 0 (it only adds noise), and that of k3,
# GRPO's, is
# the gradient of the reverse divergence KL(reference ‖ policy). As values k1 and k3 have no bias, and k3 is
# never negative.


def k1(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """−log r."""
    return logprobs - reference_logprobs


def k2(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """½·(log r)²."""
    return 0.5 * (logprobs - reference_logprobs) ** 2


def k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """r − 1 − log r."""
    log_ratio = reference_logprobs - logprobs
    return log_ratio.exp() - 1 - log_ratio


ESTIMATORS: dict[KlEstimator, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}

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
