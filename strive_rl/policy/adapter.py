"""Low-rank adapters (LoRA, arXiv 2106.09685) on the language model, by peft; the weights below stay frozen.

The adapters are put into the model in place, so the rest of the policy does not know of them; a checkpoint
holds the merged weights and is a plain transformers folder.
"""

from __future__ import annotations

from typing import Any

import torch

from strive_data.errors import UsageError
from strive_rl.config import PolicySettings

TARGETS = r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
NAME = "default"
INIT_SEED = 0


def add_adapters(model: Any, settings: PolicySettings) -> None:
    """Put adapters of rank `settings.lora_rank` on every projection of the language model; train only them.

    They start as the identity, with the same weights in every run. Raises UsageError where peft is missing.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UsageError("policy.lora_rank needs peft: install this package with its [lora] extra") from error
    config = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_rank * settings.lora_scale,
        lora_dropout=0.0,
        target_modules=TARGETS,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(INIT_SEED)
        inject_adapter_in_model(config, model, adapter_name=NAME)


def merged_weights(model: Any) -> dict[str, torch.Tensor] | None:
    """State of the model with its adapters added in float32 and rounded once; None where it has none."""
    adapted = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    if not adapted:
        return None
    plain = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in model.state_dict().items()
        if ".lora_" not in name
    }
    for name, module in adapted.items():
        base = module.get_base_layer().weight.detach()
        delta = module.get_delta_weight(NAME).detach()
        plain[f"{name}.weight"] = (base.float() + delta.float()).to(base.dtype)
    return plain


def adapter_weights(model: Any) -> dict[str, torch.Tensor]:
    """The adapters alone, to go on from; empty where there are none."""
    return {name: tensor for name, tensor in model.state_dict().items() if ".lora_" in name}


def load_adapters(model: Any, weights: dict[str, torch.Tensor]) -> None:
    """Inverse of `adapter_weights`, for a model with the same adapters. KeyError for others."""
    own = model.state_dict()
    if weights.keys() != adapter_weights(model).keys():
        raise KeyError("these are the weights of other adapters")
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)
