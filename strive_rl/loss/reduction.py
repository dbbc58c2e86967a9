"""What the loss of one token weighs in the loss of an optimizer step.

Shapes: B responses of a micro-batch, L tokens. The counts of the objective are those of the whole step, so
the weighted sums of micro-batches, and of processes, add up. A response without tokens pays nothing. float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from strive_rl.config import LossName
from strive_rl.loss.inputs import Objective

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
