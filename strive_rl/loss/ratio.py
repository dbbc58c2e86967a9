"""Importance ratios from log-ratios. Shapes: B responses, L tokens; log-ratios are 0 where padded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from strive_rl.config import LossName

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
