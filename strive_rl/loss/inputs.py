"""All that a loss may see: the tokens of a micro-batch, and what is asked of them.

Shapes: B responses of a micro-batch, L tokens of the longest of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from strive_rl.config import AlgorithmSettings, KlEstimator, LossName


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
