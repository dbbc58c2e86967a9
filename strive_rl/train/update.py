"""Lessons → optimizer steps: the loss by passes, the gradient clipped, the weights moved.

A step's rollouts may serve several updates: each of `minibatches` parts of the questions once in each of
`epochs_per_rollout` epochs, in their order, which is the data's random one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch

from strive_data.errors import StriveError
from strive_rl.algorithm.loss import Objective, TokenBatch, policy_loss
from strive_rl.common import distributed
from strive_rl.config import AlgorithmSettings
from strive_rl.policy import Policy, logprobs
from strive_rl.policy.logprobs import mask, sampled_logprobs
from strive_rl.train.examples import FixedLogprobs, TrainExample, fixed_logprobs
from strive_rl.train.optimizer import Optimizer
from strive_rl.train.reference import Reference

Anchored = tuple[TrainExample, FixedLogprobs]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What one process's part of one update is over: its responses, their tokens, and its passes."""

    responses: int
    tokens: int
    passes: int


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
    """Sums over the tokens of one update or of several, by name; the largest log-probability gap; the first
    loss that was not finite, in words."""

    sums: dict[str, float] = field(default_factory=dict)
    gap: float = 0.0
    trouble: str | None = None

    def add(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value


def update(
    policy: Policy,
    optimizer: Optimizer,
    taught: Sequence[TrainExample],
    settings: AlgorithmSettings,
    *,
    temperature: float,
    learning_rate: float,
    step: int,
    reference: Reference | None = None,
    filler: TrainExample | None = None,
) -> UpdateStats:
    """All updates of one step over its lessons, `policy.groups_per_pass` questions in a pass.

    With the lessons split over processes all of them call this, and take the updates of one process with all
    lessons; the stats are those of this process's part. `filler` is what a process computes, and learns
    nothing from, while others have more passes to do (strive_rl.filler).

    Raises StriveError that names the step and the questions where the loss or the gradient is not finite, on
    every process; the weights are then as they were before that update.
    """
    held = distributed.all_gather(len(taught))
    if not sum(held):
        return UpdateStats()
    fixed = fixed_logprobs(policy, taught, settings, reference, temperature)
    parts = split(list(zip(taught, fixed, strict=True)), settings.minibatches, held, distributed.rank())
    plan = parts * settings.epochs_per_rollout
    seen, norms, first_gap = _Seen(), [], float("nan")
    for number, part in enumerate(plan, start=1):
        where = f"step {step}" if len(plan) == 1 else f"step {step}, update {number} of {len(plan)}"
        own = counted(part, policy.settings.groups_per_pass)
        counts = distributed.all_gather(own)
        one = _accumulate(policy, optimizer, part, settings, objective(counts, settings), temperature, where)
        _idle(policy, optimizer, filler, max(each.passes for each in counts) - own.passes, temperature)
        _stop_if(one.trouble)
        norm = optimizer.clip()
        _require_finite_gradient(norm, where, part)
        optimizer.step(learning_rate)
        seen.add(one.sums)
        norms.append(norm)
        if number == 1 and settings.logprob_condition == "own":
            first_gap = one.gap
    return _stats(seen.sums, norms, first_gap)


def split(
    anchored: Sequence[Anchored], count: int, held: Sequence[int], rank: int = 0
) -> list[list[Anchored]]:
    """This process's share of each of `count` parts as equal as can be, in order; fewer parts where there are
    fewer questions. The processes hold `held` questions one after the other, this one as number `rank`."""
    total, before = sum(held), sum(held[:rank])
    ends = [total * i // count for i in range(count + 1)]
    return [
        list(anchored[max(start - before, 0) : max(end - before, 0)])
        for start, end in pairwise(ends)
        if start < end
    ]


def counted(part: Sequence[Anchored], groups_per_pass: int) -> Counts:
    """Counts of one process's part of an update."""
    return Counts(
        responses=sum(lesson.advantages.size for lesson, _ in part),
        tokens=sum(lesson.tokens for lesson, _ in part),
        passes=math.ceil(len(part) / groups_per_pass),
    )


def objective(counts: Sequence[Counts], settings: AlgorithmSettings) -> Objective:
    """The objective of one update, whose parts on all processes have these counts."""
    return Objective.of(
        settings,
        responses=sum(each.responses for each in counts),
        tokens=sum(each.tokens for each in counts),
    )


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
        if not np.isfinite(metrics["loss"]):
            seen.trouble = seen.trouble or _not_finite(metrics["loss"], "loss", where, _ids(few))
        optimizer.gather()
        seen.add(metrics)
        seen.gap = max(seen.gap, _gap(batch.logprobs, batch.rollout_logprobs))
    return seen


def _idle(
    policy: Policy, optimizer: Optimizer, filler: TrainExample | None, passes: int, temperature: float
) -> None:
    """Passes without a gradient of their own: weights and gradients of a sharded model pass through the hands
    of all processes in every pass, so all must take equally many."""
    for _ in range(passes):
        if filler is None:
            raise ValueError("other processes have more passes, and there is no filler")
        nothing = logprobs(policy, filler.prompts, filler.responses, temperature).sum() * 0.0
        nothing.backward()  # type: ignore[no-untyped-call]  # torch's annotation is incomplete
        optimizer.gather()


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
    if not sums.get("tokens"):
        return UpdateStats()
    means = {name: value / sums["tokens"] for name, value in sums.items() if name not in ("loss", "tokens")}
    return UpdateStats(
        **means,
        loss=sums["loss"] / len(norms),
        logprob_gap=gap,
        grad_norm=sum(norms) / len(norms),
        tokens=int(sums["tokens"]),
        updates=len(norms),
    )


def _stop_if(trouble: str | None) -> None:
    """End all processes where one of them is in trouble."""
    with distributed.propagate_errors():
        if trouble:
            raise StriveError(trouble)
    distributed.barrier()


def _require_finite_gradient(norm: float, where: str, part: Sequence[Anchored]) -> None:
    """The norm is that of all processes, and the same on each."""
    if not np.isfinite(norm):
        distributed.stop(_not_finite(norm, "gradient", where, distributed.all_gather_list(_ids(part))))


def _not_finite(value: float, what: str, where: str, ids: Sequence[str]) -> str:
    return f"{where}: the {what} is {value}; questions of this pass: {', '.join(ids)}"


def _ids(part: Sequence[Anchored]) -> list[str]:
    return [lesson.sample_id for lesson, _ in part]
