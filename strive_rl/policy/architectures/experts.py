"""Mixtures of experts: how their routers spread the tokens of the update over the experts.

A router sends each token of a layer to the k experts of the highest probability. Nothing of this package
balances them: no auxiliary loss is added, and the record of a step says how even the load is (METRICS.md).

Shape letters: S layers with experts, E experts, N tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

COUNTER = "strive_router_load"


@dataclass(frozen=True, kw_only=True)
class RouterLoad:
    """Loads [S][E], the choices of an expert by a token; `entropy` [S] summed over `tokens` [S], in units of
    ln E, so that 1 a token is a uniform router. Plain numbers that can be sent to another process."""

    loads: tuple[tuple[float, ...], ...]
    entropy: tuple[float, ...]
    tokens: tuple[float, ...]

    def record(self) -> dict[str, float]:
        """`entropy`: its mean over tokens and layers. `imbalance`: the load of a layer's busiest expert over
        the mean load, less 1, mean over layers (MaxVio, arXiv 2408.15664). `unused_share`: experts without a
        token."""
        layers = len(self.loads)
        means = [entropy / tokens for entropy, tokens in zip(self.entropy, self.tokens, strict=True)]
        uneven = [max(loads) * len(loads) / sum(loads) - 1 for loads in self.loads]
        unused = [sum(load == 0 for load in loads) / len(loads) for loads in self.loads]
        return {
            "entropy": sum(means) / layers,
            "imbalance": sum(uneven) / layers,
            "unused_share": sum(unused) / layers,
        }


def summed(parts: Sequence[RouterLoad]) -> RouterLoad | None:
    """The loads of several processes or updates together; None of none."""
    if not parts:
        return None
    loads = zip(*(part.loads for part in parts), strict=True)
    return RouterLoad(
        loads=tuple(tuple(map(sum, zip(*layer, strict=True))) for layer in loads),
        entropy=tuple(map(sum, zip(*(part.entropy for part in parts), strict=True))),
        tokens=tuple(map(sum, zip(*(part.tokens for part in parts), strict=True))),
    )


class _Counter:
    """Adds up what one router does in passes with gradients: those of the update."""

    def __init__(self) -> None:
        self.total: torch.Tensor | None = None

    def __call__(self, router: Any, inputs: Any, output: tuple[torch.Tensor, ...]) -> None:
        if not torch.is_grad_enabled():
            return
        logits_NE, _, chosen = (each.detach() for each in output)
        logprobs = torch.log_softmax(logits_NE.float(), dim=-1)
        entropy = -(logprobs.exp() * logprobs).sum() / math.log(logits_NE.shape[-1])
        loads = torch.bincount(chosen.flatten(), minlength=logits_NE.shape[-1])
        made = torch.cat([loads.to(entropy), entropy[None], entropy.new_tensor([float(len(logits_NE))])])
        self.total = made if self.total is None else self.total + made


def register(model: Any) -> None:
    """Count what the routers of `model` do."""
    for router in _routers(model):
        counter = _Counter()
        router.register_forward_hook(counter)
        setattr(router, COUNTER, counter)


def take_load(model: Any) -> RouterLoad | None:
    """What the routers did in the passes with gradients since the last call; None where there are none.

    With recomputed activations a token counts twice, in all of the numbers.
    """
    counters = [getattr(router, COUNTER) for router in _routers(model)]
    totals = [counter.total.tolist() for counter in counters if counter.total is not None]
    for counter in counters:
        counter.total = None
    if not totals:
        return None
    return RouterLoad(
        loads=tuple(tuple(row[:-2]) for row in totals),
        entropy=tuple(row[-2] for row in totals),
        tokens=tuple(row[-1] for row in totals),
    )


def has_experts(model: Any) -> bool:
    """Whether the model is a mixture of experts."""
    return bool(_routers(model))


def _routers(model: Any) -> list[Any]:
    layers = model.model.language_model.layers
    return [layer.mlp.gate for layer in layers if hasattr(layer.mlp, "experts")]
