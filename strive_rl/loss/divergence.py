"""Estimates of KL(policy ‖ reference) from the sampled tokens, with r = π_reference/π (Schulman, 2020).

As a term of the loss what counts is the gradient, in expectation over tokens of the policy itself: that of
k2 is exactly the gradient of the divergence, that of k1 is 0 (it only adds noise), and that of k3, GRPO's, is
the gradient of the reverse divergence KL(reference ‖ policy). As values k1 and k3 have no bias, and k3 is
never negative.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from strive_rl.config import KlEstimator


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
