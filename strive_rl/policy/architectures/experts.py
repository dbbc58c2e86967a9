"""Mixtures of experts: how their routers spread the tokens of the update over the experts.

A router sends each token of a layer to the k experts of the highest probability. Nothing of this package
balances them: no auxiliary loss is added, and the record of a step says how even the load is (METRICS.md).

Shape letters: S layers with experts, E experts, N tokens.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

LOAD = "strive_router_load"

RouterLoad = npt.NDArray[np.float64]
"""[S, E + 2]: of each layer the choices of each expert by a token; the entropy summed over tokens, in units
of ln E, so that 1 a token is a uniform router; and the tokens. Loads of processes or updates add up."""


def router_record(load: RouterLoad) -> dict[str, float]:
    """`entropy`: its mean over tokens and layers. `imbalance`: the load of a layer's busiest expert over the
    mean load, less 1, mean over layers (MaxVio, arXiv 2408.15664). `unused_share`: experts without a token.
    """
    chosen_SE, entropy_S, tokens_S = load[:, :-2], load[:, -2], load[:, -1]
    of_layers = {
        "entropy": entropy_S / tokens_S,
        "imbalance": chosen_SE.max(axis=1) * chosen_SE.shape[1] / chosen_SE.sum(axis=1) - 1,
        "unused_share": (chosen_SE == 0).mean(axis=1),
    }
    return {name: sum(values_S.tolist()) / len(load) for name, values_S in of_layers.items()}


def register(model: Any) -> None:
    """Count what the routers of `model` do in passes with gradients: those of the update."""
    for router in routers(model):
        setattr(router, LOAD, None)
        router.register_forward_hook(_count)


def _count(router: Any, inputs: Any, output: tuple[torch.Tensor, ...]) -> None:
    if not torch.is_grad_enabled():
        return
    logits_NE, _, chosen = (each.detach() for each in output)
    logprobs = torch.log_softmax(logits_NE.float(), dim=-1)
    entropy = -(logprobs.exp() * logprobs).sum() / math.log(logits_NE.shape[-1])
    # Nothing here waits for a GPU, as bincount and new_tensor would.
    one = entropy.new_ones(()).expand(chosen.numel())
    loads = entropy.new_zeros(logits_NE.shape[-1]).index_add_(0, chosen.flatten(), one)
    made = torch.cat([loads, entropy[None], entropy.new_full((1,), len(logits_NE))])
    before = getattr(router, LOAD)
    setattr(router, LOAD, made if before is None else before + made)


def take_load(model: Any) -> RouterLoad | None:
    """What the routers did in the passes with gradients since the last call; None where there are none.

    With recomputed activations a token counts twice, in all of the numbers.
    """
    loads = [getattr(router, LOAD) for router in routers(model)]
    for router in routers(model):
        setattr(router, LOAD, None)
    totals = [load.tolist() for load in loads if load is not None]
    return np.array(totals) if totals else None


def published(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A weight of Qwen3-VL as its published folders have it: experts [E, in, out]. Version 5 of transformers
    loads these and [E, out, in], by the shape, and saves the latter, which vLLM and version 4.57 cannot read.
    A square one, which it would not turn back, stays."""
    turned = name.endswith((".mlp.experts.gate_up_proj", ".mlp.experts.down_proj"))
    return tensor.mT if turned and tensor.shape[1] != tensor.shape[2] else tensor


def routers(model: Any) -> list[Any]:
    """The routers of a mixture of experts; none of other models."""
    layers = model.model.language_model.layers
    return [layer.mlp.gate for layer in layers if hasattr(layer.mlp, "experts")]
