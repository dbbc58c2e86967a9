"""The reference model of `algorithm.kl_beta`: the policy before its first step.

With low-rank adapters it is the policy itself with its adapters off; otherwise a frozen copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, Prompt, load_policy, logprobs
from strive_rl.schema import Completion


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """`model` is the frozen copy; None: the policy's own model with its adapters off."""

    model: Any | None = None


def load_reference(name: str, settings: PolicySettings) -> Reference:
    """The reference of a policy that `load_policy(name, settings)` returns."""
    if settings.lora_rank:
        return Reference()
    model = load_policy(name, replace(settings, train_vision=False, gradient_checkpointing=False)).model
    return Reference(model=model.requires_grad_(False))


def reference_logprobs(
    reference: Reference,
    policy: Policy,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[Completion]],
    temperature: float,
) -> torch.Tensor:
    """As `policy.logprobs`, float32 [B, L], under the reference and without gradients."""
    with torch.no_grad():
        if reference.model is not None:
            return logprobs(replace(policy, model=reference.model), prompts, completions, temperature)
        with adapters_off(policy.model):
            return logprobs(policy, prompts, completions, temperature)


@contextmanager
def adapters_off(model: Any) -> Iterator[None]:
    """Disable the low-rank adapters of the model inside this context."""
    adapted = [module for module in model.modules() if hasattr(module, "lora_A")]
    for module in adapted:
        module.enable_adapters(False)
    try:
        yield
    finally:
        for module in adapted:
            module.enable_adapters(True)
