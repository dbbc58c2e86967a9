"""Rollouts → one optimizer step: joint advantages, loss by micro-batches, clipped gradient.

A question whose M×G answers are all equally accurate has nothing to teach and is left out here; it still
counts in the metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from strive_data.errors import StriveError
from strive_rl.advantage import advantages, is_uninformative
from strive_rl.config import AlgorithmSettings
from strive_rl.loss import policy_loss
from strive_rl.optimizer import Optimizer
from strive_rl.policy import Policy, Prompt, logprobs
from strive_rl.policy.logprobs import mask, sampled_logprobs
from strive_rl.rollout import reward_grid
from strive_rl.schema import Rewards, Rollout


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """A question that teaches: its rollout, its prompts [M] and its advantages float64 [M, G]."""

    rollout: Rollout
    prompts: tuple[Prompt, ...]
    advantages: Rewards


@dataclass(frozen=True, kw_only=True)
class UpdateStats:
    """What an update saw, as means over its tokens; NaN and no tokens where there was nothing to learn.

    `logprob_gap` is the largest |log π in training − log π in sampling| of a token: rounding, unless
    something is wrong.
    """

    loss: float = float("nan")
    ratio: float = float("nan")
    clipped: float = float("nan")
    kl: float = float("nan")
    logprob_gap: float = float("nan")
    grad_norm: float = float("nan")
    tokens: int = 0


def lessons(
    rollouts: Sequence[Rollout], prompts: Sequence[tuple[Prompt, ...]], settings: AlgorithmSettings
) -> list[Lesson]:
    """The questions whose answers differ in accuracy, with their advantages."""
    return [
        Lesson(rollout=rollout, prompts=views, advantages=grid_advantages(rollout, settings))
        for rollout, views in zip(rollouts, prompts, strict=True)
        if not is_uninformative(reward_grid(rollout, "accuracy"))
    ]


def grid_advantages(rollout: Rollout, settings: AlgorithmSettings) -> Rewards:
    """Advantages float64 [M, G] of one question."""
    rewards = reward_grid(rollout)
    return advantages(rewards, normalise=settings.normalise, divide_by_std=settings.divide_by_std)


def update(
    policy: Policy,
    optimizer: Optimizer,
    taught: Sequence[Lesson],
    settings: AlgorithmSettings,
    *,
    temperature: float,
    learning_rate: float,
    step: int,
) -> UpdateStats:
    """One step over all lessons, `policy.groups_per_pass` questions at a time; their gradients add up.

    Raises StriveError that names the step and the questions where the loss or the gradient is not finite; the
    weights are then as they were.
    """
    if not taught:
        return UpdateStats()
    responses = sum(lesson.advantages.size for lesson in taught)
    size = policy.settings.groups_per_pass
    sums: dict[str, float] = {}
    gap = 0.0
    for start in range(0, len(taught), size):
        part = taught[start : start + size]
        metrics, part_gap = _backward(policy, part, settings, temperature, responses)
        _require_finite(metrics["loss"], "loss", step, part)
        optimizer.gather()
        gap = max(gap, part_gap)
        sums = {name: sums.get(name, 0.0) + value for name, value in metrics.items()}
    norm = optimizer.clip()
    _require_finite(norm, "gradient", step, taught)
    optimizer.step(learning_rate)
    tokens = sums["tokens"]
    return UpdateStats(
        loss=sums["loss"],
        ratio=sums["ratio"] / tokens,
        clipped=sums["clipped"] / tokens,
        kl=sums["kl"] / tokens,
        logprob_gap=gap,
        grad_norm=norm,
        tokens=int(tokens),
    )


def _backward(
    policy: Policy, part: Sequence[Lesson], settings: AlgorithmSettings, temperature: float, responses: int
) -> tuple[dict[str, float], float]:
    """Gradients of one micro-batch onto the weights; the loss's metrics, the largest log-probability gap."""
    prompts = [prompt for lesson in part for prompt in lesson.prompts]
    rows = [answers for lesson in part for answers in lesson.rollout.completions]
    flat = [completion for answers in rows for completion in answers]
    new = logprobs(policy, prompts, rows, temperature)
    old, place = sampled_logprobs(flat).to(policy.device), mask(flat).to(policy.device)
    weights = np.concatenate([lesson.advantages.ravel() for lesson in part])
    advantages_B = torch.from_numpy(weights).to(policy.device, torch.float32)
    loss, metrics = policy_loss(new, old, place, advantages_B, settings=settings, responses=responses)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's annotation is incomplete
    return metrics, float((new.detach() - old).abs().max())


def _require_finite(value: float, what: str, step: int, taught: Sequence[Lesson]) -> None:
    if not np.isfinite(value):
        ids = ", ".join(lesson.rollout.group.question.sample_id for lesson in taught)
        raise StriveError(f"step {step}: the {what} is {value}; questions of this pass: {ids}")
