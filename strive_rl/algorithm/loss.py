"""The policy-gradient loss of a micro-batch: log-probabilities and advantages → a scalar to minimise.

Shapes: B completions of a micro-batch, L tokens of the longest of them (right padding is masked out). A
suffix _B1 broadcasts over tokens.

Each token contributes −w·min(ρ·A, clip(ρ, 1 − clip_low, 1 + clip_high)·A) + kl_beta·KL, times its
`token_weights`. The losses differ in the ratio ρ and in that weight:

    grpo      arXiv 2402.03300 eq. 3      token ratio      mean over tokens, then over completions
    dr_grpo   arXiv 2503.20783            token ratio      sum over tokens / constant
    dapo      arXiv 2503.14476 eq. 8      token ratio      mean over the tokens of the whole batch
    gspo      arXiv 2507.18071 eq. 5, 7   sequence ratio   mean over tokens, then over completions

Finite by construction: a log-ratio is bounded by LOG_RATIO_BOUND before exp, so a clipped token's gradient is
exactly 0 and never 0·∞. Only beyond the bound does it differ from the papers: ρ is constant there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from strive_rl.config import AlgorithmSettings, KlEstimator, LossName

LOG_RATIO_BOUND = 20.0  # e^20 = 4.9e8: far beyond every clip, and small enough for sums in bfloat16

Values = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenBatch:
    """Log-probabilities [B, L] of the sampled tokens and advantages [B] of their completions.

    `logprobs` under the policy that is trained, with gradients; `old_logprobs` under the policy before the
    update, by the trainer (or the rollout's, by setting). `mask` is true at the tokens of the completion, its
    end token included; padding may hold anything, NaN too. `reference_logprobs` under the reference and
    `rollout_logprobs` as sampled, where the settings use them.
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


def policy_loss(
    batch: TokenBatch, settings: AlgorithmSettings, *, completions: int, tokens: int
) -> tuple[Tensor, dict[str, float]]:
    """Loss to minimise (scalar) and metrics, of one micro-batch of an optimizer step.

    `completions` and `tokens` count the whole optimizer step, over all its micro-batches and processes: so
    losses and gradients **add up** to those of the whole step, however it is cut.

    Metrics are sums over this micro-batch's tokens, to be added up and divided by `tokens` at the end:
    `ratio` (ρ), `clipped` (tokens whose gradient the clip cuts off), `kl` (k3 estimate of KL(old ‖ policy),
    at least 0), `reference_kl` with a reference, `importance` (w) and `capped` with a cap; and `loss`, which
    adds up as it is. Raises ValueError where the settings use what the batch lacks.
    """
    if min(completions, tokens) < 1:
        raise ValueError(f"completions {completions}, tokens {tokens}: expected at least 1 of each")
    mask_BL = batch.mask.bool()
    losses_BL, values = _surrogate(batch, mask_BL, settings)
    if settings.importance_cap is not None:
        weights_BL, seen = _importance(batch, mask_BL, settings.loss, settings.importance_cap)
        losses_BL, values = losses_BL * weights_BL, values | seen
    if settings.kl_beta:
        reference_BL = _required(batch.reference_logprobs, "reference log-probabilities, for kl_beta")
        log_ratio_BL = _difference(reference_BL.detach(), batch.logprobs, mask_BL)
        divergence_BL = KL_ESTIMATORS[settings.kl_estimator](log_ratio_BL)
        losses_BL = losses_BL + settings.kl_beta * divergence_BL
        values["reference_kl"] = divergence_BL
    weights_B1 = token_weights(mask_BL, settings, completions=completions, tokens=tokens).to(losses_BL.dtype)
    loss = (losses_BL.masked_fill(~mask_BL, 0.0) * weights_B1).sum()
    metrics = {name: float(value.detach()[mask_BL].sum()) for name, value in values.items()}
    return loss, metrics | {"tokens": float(mask_BL.sum()), "loss": float(loss.detach())}


def _surrogate(batch: TokenBatch, mask_BL: Tensor, settings: AlgorithmSettings) -> tuple[Tensor, Values]:
    """−min(ρ·A, clip(ρ)·A) of each token, and the metrics of ρ."""
    clip_low, clip_high = settings.clip
    log_ratio_BL = _difference(batch.logprobs, batch.old_logprobs.detach(), mask_BL)
    ratio_BL = policy_ratio(log_ratio_BL, mask_BL, settings.loss)
    clipped_BL = ratio_BL.clamp(1 - clip_low, 1 + clip_high)
    advantages_B1 = batch.advantages.to(ratio_BL.dtype)[:, None]
    gains_BL, clipped_gains_BL = ratio_BL * advantages_B1, clipped_BL * advantages_B1
    values = {
        "ratio": ratio_BL,
        "clipped": clipped_gains_BL < gains_BL,
        "kl": _bounded_exp(log_ratio_BL) - 1 - log_ratio_BL,
    }
    return -torch.minimum(gains_BL, clipped_gains_BL), values


def _importance(batch: TokenBatch, mask_BL: Tensor, loss: LossName, cap: float) -> tuple[Tensor, Values]:
    """Truncated importance weight w = min(π_old/π_rollout, cap) of each token (of each completion in GSPO).

    Both are probabilities of the weights before the update: w removes the bias of sampling from another
    engine than the one that is trained, up to the cap. It has no gradient.
    """
    rollout_BL = _required(batch.rollout_logprobs, "rollout log-probabilities, for importance_cap")
    log_ratio_BL = _difference(batch.old_logprobs.detach(), rollout_BL.detach(), mask_BL)
    ratio_BL = policy_ratio(log_ratio_BL, mask_BL, loss)
    weights_BL = ratio_BL.clamp(max=cap)
    return weights_BL, {"importance": weights_BL, "capped": ratio_BL > cap}


def _difference(logprobs_BL: Tensor, others_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """Log-ratio, 0 where padded. Masked before exp: a NaN there would reach the gradient (0·NaN)."""
    return (logprobs_BL - others_BL).masked_fill(~mask_BL, 0.0)


def _bounded_exp(log_ratio: Tensor) -> Tensor:
    return log_ratio.clamp(max=LOG_RATIO_BOUND).exp()


def _required(logprobs_BL: Tensor | None, what: str) -> Tensor:
    if logprobs_BL is None:
        raise ValueError(f"the batch has no {what}")
    return logprobs_BL


def policy_ratio(log_ratio_BL: Tensor, mask_BL: Tensor, loss: LossName) -> Tensor:
    """ρ_t = exp(log-ratio of the token), [B, L]. With GSPO exp(mean log-ratio of the completion), the same at
    each token (eq. 7): clipped and averaged token by token it gives GSPO's loss, since all are alike."""
    if loss != "gspo":
        return _bounded_exp(log_ratio_BL)
    tokens_B1 = mask_BL.sum(dim=1, keepdim=True).clamp(min=1)
    return _bounded_exp(log_ratio_BL.sum(dim=1, keepdim=True) / tokens_B1).expand_as(log_ratio_BL)


def token_weights(mask_BL: Tensor, settings: AlgorithmSettings, *, completions: int, tokens: int) -> Tensor:
    """The weight of each token's loss in the optimizer step, float64 [B, 1] or [1, 1]: GRPO and GSPO
    1/(tokens of the completion · completions), Dr.GRPO 1/(constant · completions), DAPO 1/tokens."""
    if settings.loss in ("grpo", "gspo"):
        tokens_B1 = mask_BL.sum(dim=1, keepdim=True).clamp(min=1)
        return 1 / (tokens_B1.double() * completions)
    count = tokens if settings.loss == "dapo" else settings.loss_constant_tokens * completions
    return torch.full((1, 1), 1 / count, dtype=torch.float64, device=mask_BL.device)


def k3(log_ratio: Tensor) -> Tensor:
    """r − 1 − log r; constant beyond the bound, so that its gradient there is 0 and not of the wrong sign."""
    bounded = log_ratio.clamp(max=LOG_RATIO_BOUND)
    return bounded.exp() - 1 - bounded


# Estimates of KL(policy ‖ reference) from the sampled tokens, by log r = log(π_reference/π): Schulman 2020,
# "Approximating KL divergence". In a loss the gradient counts, in expectation over tokens of the policy: k2
# has exactly that of the divergence, k1 has 0 (it only adds noise), k3 (GRPO eq. 4) has that of the reverse
# divergence KL(reference ‖ policy). As values k1 and k3 have no bias, and k3 is never negative.
KL_ESTIMATORS: dict[KlEstimator, Callable[[Tensor], Tensor]] = {
    "k1": lambda log_ratio: -log_ratio,
    "k2": lambda log_ratio: 0.5 * log_ratio**2,
    "k3": k3,
}
