"""What is recorded of a step: one record of numbers, and a few completions for people to read. Pure.

METRICS.md has every name with its formula and its healthy range; a test holds the two together. The record
is a function of the `StepStats` of all processes: its means are over all questions, never means of means.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import torch

from strive_rl.algorithm.advantage import differs, eta2
from strive_rl.config import AlgorithmSettings
from strive_rl.data.views import evidence_seen
from strive_rl.policy.architectures.experts import router_record
from strive_rl.policy.encode import user_text
from strive_rl.rollout.groups import learned
from strive_rl.schema import Group, Rewards, SkippedQuestion
from strive_rl.train.update import Sums, added

# Metrics that the machine decides and not the seed: two equal runs agree in all others.
MEASURED = ("seconds", "per_second", "memory_bytes", "reward_calls")
# Numbers of an update, and what each sum is divided by.
OVER = {
    "loss": "updates",
    **dict.fromkeys(("ratio", "clipped", "kl", "reference_kl", "importance", "capped"), "tokens"),
    "logprob_gap": "",
    "logprob_gap_mean": "first_tokens",
    "grad_norm": "",
}
REWARD_CALLS = ("made", "retried", "failed")
# Questions of a step in the rollout log.
QUESTIONS_KEPT = 2


@dataclass(kw_only=True, eq=False)
class StepStats:
    """One process's part of a step, which each stage fills; its `groups` are those `to_send`.

    Of `collect`: `broken`, questions with damaged stored data; `dropped`, those whose prompt cannot be made
    or whose reward failed; `rounds` of dynamic sampling; `calls` of the user's reward function.
    """

    broken: list[SkippedQuestion] = field(default_factory=list)
    dropped: list[SkippedQuestion] = field(default_factory=list)
    rounds: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    groups: Sequence[Group] = ()
    update: Sums = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    memory_bytes: Mapping[str, int] = field(default_factory=dict)


def to_send(group: Group) -> Group:
    """The group without pixels: what the record says of it, for another process."""
    views = (replace(view, frames=view.frames[:0]) for view in group.views)
    prompts = (replace(prompt, pixels=torch.empty(0), features=None) for prompt in group.prompts)
    return replace(group, views=tuple(views), prompts=tuple(prompts))


def step_record(
    step: int, parts: Sequence[StepStats], settings: AlgorithmSettings, *, learning_rate: float
) -> dict[str, Any]:
    """Record of one step from the stats of all processes; None for a number that does not exist (a mean over
    nothing)."""
    groups = [group for part in parts for group in part.groups]
    dropped = [each for part in parts for each in part.dropped]
    broken = [each for part in parts for each in part.broken]
    by_type: dict[str, list[Group]] = {}
    for group in groups:
        by_type.setdefault(group.question.problem_type, []).append(group)
    seconds = _largest([part.seconds for part in parts])
    total = seconds.get("total")
    update = update_means([part.update for part in parts])
    tokens = _tokens(groups)
    done = {"questions": len(groups)} | {name: tokens[name] for name in ("rollouts", "tokens", "tokens_read")}
    done["update_tokens"] = update["update_tokens"]
    rewards = [group.reward_grid() for group in groups]
    accuracies = [group.reward_grid("accuracy") for group in groups]
    shares_between = map(eta2, rewards)
    differing = [differs(grid, settings.normalise) for grid in accuracies]
    kept = [learned(group, settings) for group in groups]
    calls = sum((part.calls for part in parts), Counter[str]())
    return {
        "step": step,
        "questions": len(groups),
        "dropped": [each.sample_id for each in dropped],
        "broken": [asdict(each) for each in broken],
        **_reward_means(groups),
        "by_problem_type": {
            kind: {"questions": len(some)} | _reward_means(some) for kind, some in sorted(by_type.items())
        },
        "zero_advantage_share": mean(not differs_MG.any() for differs_MG in differing),
        "all_right_share": mean((grid == 1).all() for grid in accuracies),
        "all_wrong_share": mean((grid == 0).all() for grid in accuracies),
        "reward_std": mean(np.std(grid.ravel()) for grid in rewards),
        "eta2": mean(share for share in shares_between if not math.isnan(share)),
        "reward_by_variant": by_variant(rewards),
        "advantage_by_variant": by_variant([group.advantages for group in groups]),
        **_evidence(groups),
        **tokens,
        **update,
        "learning_rate": learning_rate,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "per_second": {name: round(each / total, 3) if total else None for name, each in done.items()},
        "memory_bytes": _largest([part.memory_bytes for part in parts]),
        "drawn": len(groups) + len(dropped) + len(broken),
        "informative": sum(bool(kept_MG.any()) for kept_MG in kept),
        "dynamic_sampling_rounds": max(part.rounds for part in parts),
        "masked": sum(int((differing[i] & ~kept_MG).sum()) for i, kept_MG in enumerate(kept)),
        **({"reward_calls": {name: calls[name] for name in REWARD_CALLS}} if calls else {}),
    }


def update_means(parts: Sequence[Sums]) -> dict[str, Any]:
    """What the updates of all processes say: means over all tokens, None of what is missing or not finite;
    with `router` only for a mixture of experts."""
    sums = added(parts)
    means = {name: sums.get(name, math.nan) / sums.get(over, 1) for name, over in OVER.items()}
    return {
        "update_tokens": int(sums.get("tokens", 0)),
        "updates": sums.get("updates", 0),
        **{name: value if math.isfinite(value) else None for name, value in means.items()},
        **({"router": router_record(sums["router"])} if "router" in sums else {}),
    }


def mean(values: Iterable[Any]) -> float | None:
    """The mean as a plain number; None of nothing."""
    listed = list(values)
    return float(np.mean(listed)) if listed else None


def by_variant(grids: Sequence[Rewards]) -> list[float]:
    """Mean of each variant's row over all questions."""
    variants = range(len(grids[0]) if grids else 0)
    return [float(np.mean([np.mean(grid[m]) for grid in grids])) for m in variants]


def _reward_means(groups: Sequence[Group]) -> dict[str, Any]:
    named = [("total", *group.rewards[0][0].parts) for group in groups]
    means = {
        part: mean(
            np.mean(group.reward_grid(part).ravel())
            for group, parts in zip(groups, named, strict=True)
            if part in parts
        )
        for part in dict.fromkeys(chain.from_iterable(named))
    }
    return {
        "reward": means.pop("total", None),
        "accuracy": means.pop("accuracy", None),
        "format": means.pop("format", None),
        "custom": means,
    }


def _evidence(groups: Sequence[Group]) -> dict[str, float | None]:
    """Accuracy of the variants that show the evidence, and of those that do not."""
    rows = [
        (evidence_seen(view.times.tolist(), group.question.evidence_spans), float(np.mean(row)))
        for group in groups
        if group.question.evidence_spans
        for view, row in zip(group.views, group.reward_grid("accuracy"), strict=True)
    ]
    return {
        "evidence_seen_share": mean(seen for seen, _ in rows),
        "accuracy_evidence_seen": mean(accuracy for seen, accuracy in rows if seen),
        "accuracy_evidence_unseen": mean(accuracy for seen, accuracy in rows if not seen),
    }


def _tokens(groups: Sequence[Group]) -> dict[str, Any]:
    """Lengths, and what was read and sampled: both cost, so methods are compared at equal numbers of both."""
    completions = [each for group in groups for each in group.flat]
    lengths = [len(each.ids) for each in completions]
    prompts = [len(prompt.ids) for group in groups for prompt in group.prompts]
    entropies = [[value for each in group.flat for value in each.entropies] for group in groups]
    entropy_tokens = sum(map(len, entropies))
    return {
        "completion_tokens": mean(lengths),
        "completion_tokens_max": max(lengths, default=None),
        "truncated_share": mean(not each.finished for each in completions),
        "prompt_tokens": mean(prompts),
        "prompt_tokens_max": max(prompts, default=None),
        "entropy": sum(map(sum, entropies)) / entropy_tokens if entropy_tokens else None,
        "prompts": len(prompts),
        "rollouts": len(lengths),
        "tokens": sum(lengths),
        "tokens_read": sum(prompts),
    }


def _largest(given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each name the largest value of any process: the slowest, the fullest."""
    names = dict.fromkeys(chain.from_iterable(given))
    return {name: max(each[name] for each in given if name in each) for name in names}


def log_rows(step: int, groups: Sequence[Group], settings: AlgorithmSettings) -> list[dict[str, Any]]:
    """Rows of rollouts.jsonl: of the first questions the first best and the first worst completion under each
    variant, one row where they are the same."""
    return [
        _row(step, group, m, g) | {"informative": bool(learned(group, settings).any())}
        for group in groups[:QUESTIONS_KEPT]
        for m, row in enumerate(group.reward_grid())
        for g in dict.fromkeys([int(row.argmax()), int(row.argmin())])
    ]


def _row(step: int, group: Group, m: int, g: int) -> dict[str, Any]:
    question, view = group.question, group.views[m]
    completion, reward = group.completions[m][g], group.rewards[m][g]
    return {
        "step": step,
        "sample_id": question.sample_id,
        "variant": m,
        "place": g,
        "times": [round(float(t), 3) for t in view.times],
        "view": view.spatial,
        "question": question.question,
        "prompt": user_text(question, group.style, still=group.still),
        "answer": question.answer,
        "completion": completion.text,
        "tokens": len(completion.ids),
        "finished": completion.finished,
        "reward": reward.total,
        **reward.parts,
        "advantage": round(float(group.advantages[m, g]), 4),
    }
