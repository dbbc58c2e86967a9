"""Lessons → optimizer steps: the loss by passes, the gradient clipped, the weights moved.

A step's rollouts may serve several updates: each of `minibatches` parts of the questions once in each of
`epochs_per_rollout` epochs, in their order, which is the data's random one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch

from strive_data.errors import StriveError
from strive_rl.anchor import Anchor, anchors
from strive_rl.config import AlgorithmSettings
from strive_rl.lesson import Lesson
from strive_rl.loss import Objective, TokenBatch, policy_loss
from strive_rl.optimizer import Optimizer
from strive_rl.policy import Policy, logprobs
from strive_rl.policy.logprobs import mask, sampled_logprobs
from strive_rl.reference import Reference

Anchored = tuple[Lesson, Anchor]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What one update is over: its responses and their tokens."""

    responses: int
    tokens: int


Total = Callable[[Counts], Counts]


def alone(counts: Counts) -> Counts:
    """The counts of all processes, where there is one."""
    return counts


@dataclass(frozen=True, kw_only=True)
class UpdateStats:
    """What the updates of a step saw; NaN where there was nothing to see, as without a question to learn.

    Means over tokens: `ratio`, `clipped`, `kl`, `reference_kl`, `importance`, `capped` (strive_rl.loss).
    Means over the updates: `loss`, `grad_norm`. `tokens` counts a token once for each update that it is in.
    `logprob_gap` is the largest |log π in training − log π in sampling| of a token of the first update:
    rounding, unless something is wrong; only where responses are learned under their own variant.
    """

    loss: float = float("nan")
    ratio: float = float("nan")
    clipped: float = float("nan")
    kl: float = float("nan")
    reference_kl: float = float("nan")
    importance: float = float("nan")
    capped: float = float("nan")
    logprob_gap: float = float("nan")
    grad_norm: float = float("nan")
    tokens: int = 0
    updates: int = 0


@dataclass(kw_only=True, eq=False)
class _Seen:
    """Sums over the tokens of one update or of several, by name; the largest log-probability gap."""

    sums: dict[str, float] = field(default_factory=dict)
    gap: float = 0.0

    def add(self, metrics: dict[str, float]) -> None:
        self.sums = {name: self.sums.get(name, 0.0) + value for name, value in metrics.items()}


def update(
    policy: Policy,
    optimizer: Optimizer,
    taught: Sequence[Lesson],
    settings: AlgorithmSettings,
    *,
    temperature: float,
    learning_rate: float,
    step: int,
    reference: Reference | None = None,
    total: Total = alone,
) -> UpdateStats:
    """All updates of one step over its lessons, `policy.groups_per_pass` questions in a pass.

    With the lessons split over processes, `total` adds up their counts, and the gradients of all add up to
    those of one process with all lessons.

    Raises StriveError that names the step and the questions where the loss or the gradient is not finite; the
    weights are then as they were before that update.
    """
    if not taught:
        return UpdateStats()
    fixed = anchors(policy, taught, settings, reference, temperature)
    parts = split(list(zip(taught, fixed, strict=True)), settings.minibatches)
    plan = parts * settings.epochs_per_rollout
    seen, norms, first_gap = _Seen(), [], float("nan")
    for number, part in enumerate(plan, start=1):
        where = f"step {step}" if len(plan) == 1 else f"step {step}, update {number} of {len(plan)}"
        aim = objective(part, settings, total)
        one = _accumulate(policy, optimizer, part, settings, aim, temperature, where)
        norm = optimizer.clip()
        _require_finite(norm, "gradient", where, part)
        optimizer.step(learning_rate)
        seen.add(one.sums)
        norms.append(norm)
        if number == 1 and settings.logprob_condition == "own":
            first_gap = one.gap
    return _stats(seen.sums, norms, first_gap)


def split(anchored: Sequence[Anchored], count: int) -> list[list[Anchored]]:
    """The questions in `count` parts as equal as can be, in order; fewer where there are fewer questions."""
    ends = [len(anchored) * i // count for i in range(count + 1)]
    return [list(anchored[start:end]) for start, end in pairwise(ends) if start < end]


def objective(part: Sequence[Anchored], settings: AlgorithmSettings, total: Total = alone) -> Objective:
    """The objective of one update, of which `part` is this process's share: its counts are those of all."""
    responses = sum(lesson.advantages.size for lesson, _ in part)
    whole = total(Counts(responses=responses, tokens=sum(lesson.tokens for lesson, _ in part)))
    return Objective.of(settings, responses=whole.responses, tokens=whole.tokens)


def _accumulate(
    policy: Policy,
    optimizer: Optimizer,
    part: Sequence[Anchored],
    settings: AlgorithmSettings,
    aim: Objective,
    temperature: float,
    where: str,
) -> _Seen:
    """Gradients of one update onto the optimizer, pass after pass."""
    size, seen = policy.settings.groups_per_pass, _Seen()
    for start in range(0, len(part), size):
        few = part[start : start + size]
        batch = token_batch(policy, few, settings, temperature)
        loss, metrics = policy_loss(batch, aim)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's annotation is incomplete
        _require_finite(metrics["loss"], "loss", where, few)
        optimizer.gather()
        seen.add(metrics)
        seen.gap = max(seen.gap, _gap(batch.logprobs, batch.rollout_logprobs))
    return seen


def token_batch(
    policy: Policy, part: Sequence[Anchored], settings: AlgorithmSettings, temperature: float
) -> TokenBatch:
    """Log-probabilities of these lessons' responses, with gradients, beside those that stay fixed."""
    prompts = [prompt for lesson, _ in part for prompt in lesson.prompts]
    rows = [row for lesson, _ in part for row in lesson.responses]
    flat = [response for row in rows for response in row]
    new = logprobs(policy, prompts, rows, temperature)
    place, rollout = mask(flat).to(policy.device), sampled_logprobs(flat).to(policy.device)
    old = rollout if settings.old_logprobs == "rollout" else _placed([a.old for _, a in part], place)
    weights = np.concatenate([lesson.advantages for lesson, _ in part])
    return TokenBatch(
        logprobs=new,
        old_logprobs=new.detach() if old is None else old,
        mask=place,
        advantages=torch.from_numpy(weights).to(policy.device, torch.float32),
        reference_logprobs=_placed([anchor.reference for _, anchor in part], place),
        rollout_logprobs=rollout,
    )


def _placed(vectors: Sequence[torch.Tensor | None], place_BL: torch.Tensor) -> torch.Tensor | None:
    """Vectors of consecutive tokens at their places in [B, L], 0 elsewhere; None where there are none."""
    known = [vector for vector in vectors if vector is not None]
    if not known:
        return None
    return torch.zeros(place_BL.shape, device=place_BL.device).masked_scatter(place_BL, torch.cat(known))


def _gap(new: torch.Tensor, rollout: torch.Tensor | None) -> float:
    return 0.0 if rollout is None else float((new.detach() - rollout).abs().max())


def _stats(sums: dict[str, float], norms: Sequence[float], gap: float) -> UpdateStats:
    means = {name: value / sums["tokens"] for name, value in sums.items() if name not in ("loss", "tokens")}
    return UpdateStats(
        **means,
        loss=sums["loss"] / len(norms),
        logprob_gap=gap,
        grad_norm=sum(norms) / len(norms),
        tokens=int(sums["tokens"]),
        updates=len(norms),
    )


def _require_finite(value: float, what: str, where: str, part: Sequence[Anchored]) -> None:
    if not np.isfinite(value):
        ids = ", ".join(lesson.sample_id for lesson, _ in part)
        raise StriveError(f"{where}: the {what} is {value}; questions of this pass: {ids}")
