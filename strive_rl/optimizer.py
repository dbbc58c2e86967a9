"""AdamW in float32, whatever the model's dtype.

At a learning rate of 1e-6 a step is far below the resolution of bfloat16 weights and would vanish, so weights
of lower precision get a float32 master copy: gradients are gathered into it, the step is taken there, and the
model receives the rounded result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from strive_rl.config import OptimSettings


class Optimizer:
    """AdamW over named parameters; float32 ones are stepped in place."""

    def __init__(self, parameters: Sequence[tuple[str, torch.nn.Parameter]], settings: OptimSettings) -> None:
        self._names = [name for name, _ in parameters]
        self._weights = [parameter for _, parameter in parameters]
        self._masters = [_master(weight) for weight in self._weights]
        low, high = settings.betas
        self._adamw = torch.optim.AdamW(
            self._masters, lr=settings.lr, betas=(low, high), weight_decay=settings.weight_decay
        )
        self._max_grad_norm = settings.max_grad_norm

    def gather(self) -> None:
        """Add the gradients of one backward pass to the masters' and clear them on the weights."""
        for weight, master in zip(self._weights, self._masters, strict=True):
            if weight is master or weight.grad is None:
                continue
            gradient = weight.grad.float()
            master.grad = gradient if master.grad is None else master.grad + gradient
            weight.grad = None

    def clip(self) -> float:
        """Scale the gathered gradients to `max_grad_norm` at most; their norm before."""
        norm = torch.nn.utils.clip_grad_norm_(self._masters, self._max_grad_norm)
        return float(norm)

    def step(self, learning_rate: float) -> None:
        """Take one step at this rate, give the model the new weights, clear the gradients."""
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        with torch.no_grad():
            for weight, master in zip(self._weights, self._masters, strict=True):
                if weight is not master:
                    weight.copy_(master)

    def state(self) -> dict[str, Any]:
        """Everything to go on from, for `load`: plain values and tensors."""
        masters = {
            name: master.detach()
            for name, weight, master in zip(self._names, self._weights, self._masters, strict=True)
            if weight is not master
        }
        return {"names": self._names, "adamw": self._adamw.state_dict(), "masters": masters}

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`. ValueError for the state of other parameters."""
        if state["names"] != self._names:
            raise ValueError("the optimizer's state belongs to other parameters")
        self._adamw.load_state_dict(state["adamw"])
        with torch.no_grad():
            for name, master in zip(self._names, self._masters, strict=True):
                if name in state["masters"]:
                    master.copy_(state["masters"][name])


def _master(weight: torch.nn.Parameter) -> torch.nn.Parameter:
    if weight.dtype == torch.float32:
        return weight
    return torch.nn.Parameter(weight.detach().float().clone())
