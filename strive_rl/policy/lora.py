"""Low-rank adapters (LoRA, arXiv 2106.09685) on the language model, by peft; the weights below stay frozen.

The adapters are put into the model in place. Sampling and checkpoints use the merged weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from strive_data.errors import UsageError
from strive_rl.common.distributed import full, like, on_cpu
from strive_rl.config import PolicySettings

# Of attention, of linear attention (Qwen3.5), and of what is computed for each token.
TARGETS = (
    r".*language_model\..*\.(q_proj|k_proj|v_proj|o_proj|in_proj_qkv|in_proj_z|in_proj_b|in_proj_a|out_proj|"
    r"gate_proj|up_proj|down_proj)"
)
NAME = "default"
INIT_SEED = 0
BASE, DOWN, UP = ".base_layer.weight", f".lora_A.{NAME}.weight", f".lora_B.{NAME}.weight"


def add_adapters(model: Any, settings: PolicySettings) -> None:
    """Put adapters on every projection of the language model, and train only them. They start as the
    identity, with the same weights in every run. Raises UsageError where peft is missing."""
    config = adapter_config(settings)
    from peft import inject_adapter_in_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(INIT_SEED)
        inject_adapter_in_model(config, model, adapter_name=NAME)
    for module in model.modules():  # On the meta device peft leaves them in float32.
        if hasattr(module, "lora_A"):
            for half in (module.lora_A, module.lora_B):
                half[NAME].to(module.base_layer.weight.dtype)


def adapter_config(settings: PolicySettings) -> Any:
    """The adapters as peft describes them. Raises UsageError where peft is missing."""
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise UsageError("policy.lora_rank needs peft: install this package with its [lora] extra") from error
    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_rank * settings.lora_scale,
        lora_dropout=0.0,
        target_modules=TARGETS,
    )


def plain_weights(model: Any, scale: float) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and whole weights of the plain model one by one; with several processes all must take them, in
    this order. Adapters, times `scale`, are added in float32 and rounded once; others are the model's own."""
    own = model.state_dict(keep_vars=True)
    for name, tensor in own.items():
        if name.endswith(BASE):
            stem = name.removesuffix(BASE)
            base, down, up = (full(own[stem + suffix].detach()) for suffix in (BASE, DOWN, UP))
            yield f"{stem}.weight", _sum(base, down, up, scale)
        elif ".lora_" not in name:
            yield name.replace(".base_layer.", "."), full(tensor.detach())


@contextmanager
def merged_adapters(model: Any) -> Iterator[None]:
    """Add the adapters to the weights below them in this context, as `plain_weights` does, for passes without
    gradients. Restores the same bits afterwards; costs a copy of the adapted weights meanwhile."""
    adapted = [module for module in model.modules() if hasattr(module, "lora_A")]
    saved = [module.base_layer.weight.detach().clone() for module in adapted]
    try:
        with torch.no_grad():
            for module in adapted:
                base, down, up = module.base_layer, module.lora_A[NAME], module.lora_B[NAME]
                summed = _sum(base.weight, down.weight, up.weight, module.scaling[NAME])
                base.weight.copy_(summed)
                module.forward = module.base_layer.forward
        yield
    finally:
        with torch.no_grad():
            for module, weight in zip(adapted, saved, strict=True):
                module.base_layer.weight.copy_(weight)
                vars(module).pop("forward", None)


@contextmanager
def adapters_off(model: Any) -> Iterator[None]:
    """Disable the low-rank adapters of the model, where it has any, inside this context."""
    adapted = [module for module in model.modules() if hasattr(module, "lora_A")]
    for module in adapted:
        module.enable_adapters(False)
    try:
        yield
    finally:
        for module in adapted:
            module.enable_adapters(True)


def _sum(base: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scale: float) -> torch.Tensor:
    return (base.float() + up.float() @ down.float() * scale).to(base.dtype)


def adapter_weights(model: Any) -> dict[str, torch.Tensor]:
    """The adapters alone, to resume from; empty without adapters, and on all processes but the first."""
    own = model.state_dict(keep_vars=True)
    return on_cpu({name: tensor for name, tensor in own.items() if ".lora_" in name})


def load_adapters(model: Any, weights: dict[str, torch.Tensor]) -> None:
    """Inverse of `adapter_weights`, for a model with the same adapters. KeyError for others."""
    own = {name: tensor for name, tensor in model.state_dict().items() if ".lora_" in name}
    if weights.keys() != own.keys():
        raise KeyError("these are the weights of other adapters")
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(like(tensor, own[name]))
