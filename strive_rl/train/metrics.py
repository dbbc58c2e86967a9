"""What is recorded of a step: plain stats of each process, and from all of them one record. Pure.

METRICS.md has every name with its formula and its healthy range; a test holds the two together. With several
processes each makes its own `StepStats`. The record is a function of all of them, so its means are over all
questions and never means of means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np

from strive_rl.algorithm.advantage import variance_parts
from strive_rl.data.views import evidence_seen
from strive_rl.policy.architectures.experts import summed
from strive_rl.rollout.groups import informative
from strive_rl.schema import Group, Rewards
from strive_rl.train.collect import RolloutBatch
from strive_rl.train.update import UpdateStats

# Metrics that the machine decides and not the seed: two equal runs agree in all others.
MEASURED = ("seconds", "per_second", "memory_bytes", "reward_calls")
# Of UpdateStats: means over tokens.
TOKEN_MEANS = ("ratio", "clipped", "kl", "reference_kl", "importance", "capped")

Grid = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class GroupStats:
    """One question with its M×G completions, as plain numbers that can be sent to another process.

    `rewards` by part, `total` among them, `advantages`, `lengths` in tokens and `finished` are [M][G];
    `prompt_tokens` [M]. `entropy_nats` is the sum over the `entropy_tokens` tokens whose entropy is known.
    `evidence_seen` [M]: whether a frame of the variant lies in the evidence; empty where it is unknown.
    """

    sample_id: str
    problem_type: str
    informative: bool
    rewards: Mapping[str, Grid]
    advantages: Grid
    lengths: tuple[tuple[int, ...], ...]
    finished: tuple[tuple[bool, ...], ...]
    prompt_tokens: tuple[int, ...]
    entropy_nats: float
    entropy_tokens: int
    evidence_seen: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class StepStats:
    """One process's part of a step.

    `dropped` are the ids of questions whose prompt cannot be made or whose reward failed, `broken` ids and
    reasons of those with damaged stored data; `rounds` counts the rounds of dynamic sampling, the same on all
    processes; `update` counts this process's tokens, `calls` its calls of the user's reward function.
    """

    groups: tuple[GroupStats, ...]
    dropped: tuple[str, ...]
    broken: tuple[Mapping[str, Any], ...]
    rounds: int
    update: UpdateStats
    seconds: Mapping[str, float]
    memory_bytes: Mapping[str, int]
    calls: Mapping[str, int] = field(default_factory=dict)


def step_stats(
    batch: RolloutBatch,
    groups: Sequence[Group],
    update: UpdateStats,
    *,
    seconds: Mapping[str, float],
    memory_bytes: Mapping[str, int],
) -> StepStats:
    """The stats of this process's batch; `groups` are those of the batch with their advantages."""
    return StepStats(
        groups=tuple(map(group_stats, groups)),
        dropped=tuple(each.sample_id for each in batch.dropped),
        broken=tuple(asdict(each) for each in batch.broken),
        rounds=batch.rounds,
        update=update,
        seconds=seconds,
        memory_bytes=memory_bytes,
        calls=batch.calls,
    )


def group_stats(group: Group) -> GroupStats:
    """The stats of one question."""
    entropies = [value for row in group.completions for each in row for value in each.entropies]
    seen = (evidence_seen(view.times.tolist(), group.question.evidence_spans) for view in group.views)
    return GroupStats(
        sample_id=group.question.sample_id,
        problem_type=group.question.problem_type,
        informative=informative(group),
        rewards={part: _rows(group.reward_grid(part)) for part in ("total", *group.rewards[0][0].parts)},
        advantages=_rows(group.advantages),
        lengths=tuple(tuple(len(each.ids) for each in row) for row in group.completions),
        finished=tuple(tuple(each.finished for each in row) for row in group.completions),
        prompt_tokens=tuple(len(prompt.ids) for prompt in group.prompts),
        entropy_nats=float(sum(entropies)),
        entropy_tokens=len(entropies),
        evidence_seen=tuple(each for each in seen if each is not None),
    )


def accuracy_lean(parts: Sequence[StepStats]) -> float:
    """(questions all right − questions all wrong)/questions, which moves α (algorithm/schedule.py).

    All completions of such a question have one accuracy, above ("right") or below one half.
    """
    groups = [group for part in parts for group in part.groups]
    levels = [group.rewards["accuracy"][0][0] for group in groups if not group.informative]
    return sum((level > 0.5) - (level < 0.5) for level in levels) / max(1, len(groups))


def step_record(
    step: int, parts: Sequence[StepStats], *, learning_rate: float, alpha: float | None, mask_truncated: bool
) -> dict[str, Any]:
    """Record of one step from the stats of all processes; None for a number that does not exist (a mean over
    nothing)."""
    groups = [group for part in parts for group in part.groups]
    seconds = _largest([part.seconds for part in parts])
    update = joined([part.update for part in parts])
    amounts = _amounts(groups)
    return {
        "step": step,
        "questions": len(groups),
        "dropped": [sample_id for part in parts for sample_id in part.dropped],
        "broken": [dict(each) for part in parts for each in part.broken],
        **_reward_means(groups),
        "by_problem_type": _by_problem_type(groups),
        **_shares(groups),
        "reward_std": mean(np.std(_flat(group.rewards["total"])) for group in groups),
        "eta2": mean(_known(variance_parts(group.rewards["total"]).eta2 for group in groups)),
        "reward_by_variant": by_variant([group.rewards["total"] for group in groups]),
        "advantage_by_variant": by_variant([group.advantages for group in groups]),
        **_evidence(groups),
        **_lengths(groups),
        **amounts,
        **_update(update),
        "learning_rate": learning_rate,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "per_second": _per_second(amounts, len(groups), update, seconds.get("total", 0.0)),
        "memory_bytes": _largest([part.memory_bytes for part in parts]),
        "alpha": alpha,
        **_sampling_counts(parts, groups, mask_truncated=mask_truncated),
        **_reward_calls(parts),
    }


def joined(parts: Sequence[UpdateStats]) -> UpdateStats:
    """The stats of all processes, each of which counts its own tokens and its own share of the loss.

    A process without tokens has NaN and no weight. The gradient norm is the same on all that have one.
    """
    learned = [each for each in parts if each.tokens]
    if not learned:
        return UpdateStats()
    tokens = sum(each.tokens for each in learned)
    means = {
        name: sum(getattr(each, name) * each.tokens for each in learned) / tokens for name in TOKEN_MEANS
    }
    return UpdateStats(
        **means,
        loss=sum(each.loss for each in learned),
        logprob_gap=max(each.logprob_gap for each in learned),
        logprob_gap_mean=sum(each.logprob_gap_mean * each.tokens for each in learned) / tokens,
        grad_norm=learned[0].grad_norm,
        tokens=tokens,
        updates=max(each.updates for each in learned),
        router=summed([each.router for each in learned if each.router]),
    )


def mean(values: Iterable[Any]) -> float | None:
    """The mean as a plain number; None of nothing."""
    listed = list(values)
    return float(np.mean(listed)) if listed else None


def by_variant(grids: Sequence[Grid]) -> list[float]:
    """Mean of each variant's row over all questions."""
    variants = range(len(grids[0]) if grids else 0)
    return [float(np.mean([np.mean(grid[m]) for grid in grids])) for m in variants]


def _sampling_counts(
    parts: Sequence[StepStats], groups: Sequence[GroupStats], *, mask_truncated: bool
) -> dict[str, int]:
    learned = [group for group in groups if group.informative]
    truncated = sum(not finished for group in learned for finished in _flat(group.finished))
    return {
        "drawn": len(groups) + sum(len(part.dropped) + len(part.broken) for part in parts),
        "informative": len(learned),
        "dynamic_sampling_rounds": max(part.rounds for part in parts),
        "masked": truncated if mask_truncated else 0,
    }


def _reward_calls(parts: Sequence[StepStats]) -> dict[str, dict[str, int]]:
    """Calls of the user's reward function; nothing without one."""
    if not any(part.calls for part in parts):
        return {}
    names = ("made", "retried", "failed")
    return {"reward_calls": {name: sum(part.calls.get(name, 0) for part in parts) for name in names}}


def _shares(groups: Sequence[GroupStats]) -> dict[str, float | None]:
    def share(holds: Callable[[float], bool]) -> float | None:
        return mean(not group.informative and holds(group.rewards["accuracy"][0][0]) for group in groups)

    return {
        "zero_advantage_share": share(lambda accuracy: True),
        "all_right_share": share(lambda accuracy: accuracy == 1),
        "all_wrong_share": share(lambda accuracy: accuracy == 0),
    }


def _reward_means(groups: Sequence[GroupStats]) -> dict[str, Any]:
    parts = dict.fromkeys(chain.from_iterable(group.rewards for group in groups))
    means = {
        part: mean(np.mean(_flat(group.rewards[part])) for group in groups if part in group.rewards)
        for part in parts
    }
    return {
        "reward": means.pop("total", None),
        "accuracy": means.pop("accuracy", None),
        "format": means.pop("format", None),
        "custom": means,
    }


def _by_problem_type(groups: Sequence[GroupStats]) -> dict[str, Any]:
    kinds = sorted({group.problem_type for group in groups})
    by_kind = {kind: [group for group in groups if group.problem_type == kind] for kind in kinds}
    return {kind: {"questions": len(some)} | _reward_means(some) for kind, some in by_kind.items()}


def _evidence(groups: Sequence[GroupStats]) -> dict[str, float | None]:
    """Accuracy of the variants that show the evidence, and of those that do not."""
    rows = [
        (seen, float(np.mean(row)))
        for group in groups
        if group.evidence_seen
        for seen, row in zip(group.evidence_seen, group.rewards["accuracy"], strict=True)
    ]
    return {
        "evidence_seen_share": mean(seen for seen, _ in rows),
        "accuracy_evidence_seen": mean(accuracy for seen, accuracy in rows if seen),
        "accuracy_evidence_unseen": mean(accuracy for seen, accuracy in rows if not seen),
    }


def _lengths(groups: Sequence[GroupStats]) -> dict[str, Any]:
    lengths = [length for group in groups for length in _flat(group.lengths)]
    prompts = [tokens for group in groups for tokens in group.prompt_tokens]
    entropy_tokens = sum(group.entropy_tokens for group in groups)
    nats = sum(group.entropy_nats for group in groups)
    return {
        "completion_tokens": mean(lengths),
        "completion_tokens_max": max(lengths, default=None),
        "truncated_share": mean(not finished for group in groups for finished in _flat(group.finished)),
        "prompt_tokens": mean(prompts),
        "prompt_tokens_max": max(prompts, default=None),
        "entropy": nats / entropy_tokens if entropy_tokens else None,
    }


def _amounts(groups: Sequence[GroupStats]) -> dict[str, int]:
    """What was read and sampled: both cost, so methods are compared at equal numbers of both."""
    return {
        "prompts": sum(len(group.prompt_tokens) for group in groups),
        "rollouts": sum(len(_flat(group.lengths)) for group in groups),
        "tokens": sum(sum(_flat(group.lengths)) for group in groups),
        "tokens_read": sum(sum(group.prompt_tokens) for group in groups),
    }


def _update(stats: UpdateStats) -> dict[str, Any]:
    """With `router` only for a mixture of experts."""
    numbers = asdict(replace(stats, router=None))
    del numbers["router"]
    counts = {"update_tokens": numbers.pop("tokens"), "updates": numbers.pop("updates")}
    means = {name: float(value) if math.isfinite(value) else None for name, value in numbers.items()}
    router = {"router": stats.router.record()} if stats.router else {}
    return counts | means | router


def _per_second(
    amounts: Mapping[str, int], questions: int, update: UpdateStats, seconds: float
) -> dict[str, float | None]:
    done = {"questions": questions} | {name: amounts[name] for name in ("rollouts", "tokens", "tokens_read")}
    done["update_tokens"] = update.tokens
    return {name: round(amount / seconds, 3) if seconds else None for name, amount in done.items()}


def _largest(given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each name the largest value of any process: the slowest, the fullest."""
    names = dict.fromkeys(chain.from_iterable(given))
    return {name: max(each[name] for each in given if name in each) for name in names}


def _rows(grid_MG: Rewards) -> Grid:
    return tuple(tuple(float(value) for value in row) for row in grid_MG)


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _flat(grid: Sequence[Sequence[Any]]) -> list[Any]:
    return [value for row in grid for value in row]
