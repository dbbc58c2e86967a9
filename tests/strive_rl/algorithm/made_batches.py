"""Random ragged batches, and the loss of every setting by plain Python, one token at a time."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import torch

from strive_rl.algorithm.loss import TokenBatch
from strive_rl.config import AlgorithmSettings

LENGTHS = (5, 1, 3, 7, 2, 6)
TENSORS = [each.name for each in fields(TokenBatch)]


def made_batch(seed: int = 0, lengths: tuple[int, ...] = LENGTHS, spread: float = 0.4) -> TokenBatch:
    """float64; ratios on both sides of the clips; each row's first `length` tokens are real."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths))

    def noise() -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    old = -3 * torch.rand(shape, generator=generator, dtype=torch.float64)
    return TokenBatch(
        logprobs=old + spread * noise(),
        old_logprobs=old,
        mask=torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None],
        advantages=torch.randn(len(lengths), generator=generator, dtype=torch.float64),
        reference_logprobs=old + 0.5 * noise(),
        rollout_logprobs=old + 0.3 * noise(),
    )


def changed(batch: TokenBatch, **changes: Any) -> TokenBatch:
    """The batch with other tensors, by name."""
    return TokenBatch(**{name: getattr(batch, name) for name in TENSORS} | changes)


def plain_loss(batch: TokenBatch, settings: AlgorithmSettings, *, completions: int, tokens: int) -> float:
    """The loss as published, from Python floats: no tensor, no broadcasting."""
    total = 0.0
    for row in range(len(batch.advantages)):
        real = [t for t, masked in enumerate(batch.mask[row].tolist()) if masked]
        divisor = {
            "dr_grpo": settings.loss_constant_tokens * completions,
            "dapo": tokens,
        }.get(settings.loss, len(real) * completions)
        for token in real:
            value = _surrogate(batch, settings, row, token, real)
            if settings.kl_beta:
                value += settings.kl_beta * _divergence(batch, settings, row, token)
            total += value / divisor
    return total


def _surrogate(
    batch: TokenBatch, settings: AlgorithmSettings, row: int, token: int, real: list[int]
) -> float:
    def ratio(above: torch.Tensor, below: torch.Tensor) -> float:
        terms = [float(above[row, t] - below[row, t]) for t in real]
        if settings.loss == "gspo":
            return math.exp(sum(terms) / len(terms))
        return math.exp(terms[real.index(token)])

    advantage, (low, high) = float(batch.advantages[row]), settings.clip
    rho = ratio(batch.logprobs, batch.old_logprobs)
    clipped = min(max(rho, 1 - low), 1 + high)
    value = -min(rho * advantage, clipped * advantage)
    if settings.importance_cap is None:
        return value
    assert batch.rollout_logprobs is not None
    return value * min(ratio(batch.old_logprobs, batch.rollout_logprobs), settings.importance_cap)


def _divergence(batch: TokenBatch, settings: AlgorithmSettings, row: int, token: int) -> float:
    log_r = float(batch.reference_logprobs[row, token] - batch.logprobs[row, token])
    return {"k1": -log_r, "k2": log_r**2 / 2, "k3": math.exp(log_r) - 1 - log_r}[settings.kl_estimator]
