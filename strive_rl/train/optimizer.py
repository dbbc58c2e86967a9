"""AdamW in float32, whatever the model's dtype, and its learning rate.

At a learning rate of 1e-6 a step is far below the resolution of bfloat16 weights and would vanish. So weights
of lower precision get a float32 master copy: gradients are added to it, the step is taken there, and the
model receives the rounded result. Over several processes (strive_rl/policy/sharding.py) masters and moments
are sharded as the weights are, and the norm of the gradient is that of all shards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from strive_rl.common.distributed import full, like, on_cpu
from strive_rl.config import OptimSettings


def learning_rate(step: int, settings: OptimSettings, steps: int) -> float:
    """Rate of the 0-based `step` of a run of `steps`: linearly up to `lr` over the warm-up; then constant, or
    on a line or half a cosine down to `final_lr`, reached after `decay_steps` steps, or at the end."""
    first, end = settings.warmup_steps, settings.decay_steps or steps
    if step < first:
        return settings.lr * (step + 1) / first
    progress = min(1.0, (step - first) / max(1, end - first))
    height = settings.lr - settings.final_lr
    if settings.schedule == "linear":
        return settings.final_lr + height * (1 - progress)
    if settings.schedule == "cosine":
        return settings.final_lr + height * (1 + math.cos(math.pi * progress)) / 2
    return settings.lr


class Optimizer:
    """AdamW over named parameters; float32 parameters are stepped in place."""

    def __init__(self, parameters: Sequence[tuple[str, torch.nn.Parameter]], settings: OptimSettings) -> None:
        self._names, weights = [name for name, _ in parameters], [weight for _, weight in parameters]
        self._masters = [
            weight if weight.dtype == torch.float32 else torch.nn.Parameter(weight.detach().float())
            for weight in weights
        ]
        # Name, weight and master of the parameters that have a master of their own.
        every = zip(self._names, weights, self._masters, strict=True)
        self._copies = [(name, weight, master) for name, weight, master in every if weight is not master]
        low, high = settings.betas
        # One kernel on GPUs; else AdamW makes temporary copies of all weights, or a loop over sharded ones.
        fused = all(master.is_cuda for master in self._masters) or None
        self._adamw = torch.optim.AdamW(
            self._masters, lr=settings.lr, betas=(low, high), weight_decay=settings.weight_decay, fused=fused
        )
        self._max_grad_norm = settings.max_grad_norm

    def add_gradients(self) -> None:
        """Add the gradients of one backward pass to the masters' and clear them on the weights."""
        for _, weight, master in self._copies:
            if weight.grad is not None:
                gradient = weight.grad.float()
                master.grad = gradient if master.grad is None else master.grad + gradient
                weight.grad = None

    def clip(self) -> float:
        """Scale the gathered gradients to `max_grad_norm` at most; their norm before."""
        gradients = [master.grad for master in self._masters if master.grad is not None]
        norm = full(get_total_norm(gradients))
        clip_grads_with_norm_(self._masters, self._max_grad_norm, norm)
        return float(norm)

    def step(self, learning_rate: float) -> None:
        """Take one step at this rate, give the model the new weights, clear the gradients."""
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        with torch.no_grad():
            for _, weight, master in self._copies:
                weight.copy_(master)

    def state(self) -> dict[str, Any]:
        """The state for `load`: plain values, and copies of whole tensors on the CPU, which the first process
        alone gets; all must call it."""
        masters = {name: master for name, _, master in self._copies}
        adamw = self._adamw.state_dict()
        moments = {i: on_cpu(kinds) for i, kinds in adamw["state"].items()}
        return {"names": self._names, "adamw": adamw | {"state": moments}, "masters": on_cpu(masters)}

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`. ValueError for the state of other parameters."""
        if state["names"] != self._names:
            raise ValueError("the optimizer's state belongs to other parameters")
        moments = {
            i: {kind: like(each, self._masters[i]) if each.ndim else each for kind, each in kinds.items()}
            for i, kinds in state["adamw"]["state"].items()
        }
        # The devices are those of now.
        own = self._adamw.param_groups[0]["fused"]
        groups = [group | {"fused": own} for group in state["adamw"]["param_groups"]]
        self._adamw.load_state_dict({"param_groups": groups, "state": moments})
        with torch.no_grad():
            for name, master in zip(self._names, self._masters, strict=True):
                if name in state["masters"]:
                    master.copy_(like(state["masters"][name], master))
