"""What a step is worth writing down: one flat record for metrics.jsonl. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from strive_rl.advantage import is_uninformative, variance_parts
from strive_rl.rollout import Encoded, reward_grid
from strive_rl.schema import Rewards, Rollout
from strive_rl.update import UpdateStats


def step_record(
    step: int,
    rollouts: Sequence[Rollout],
    grids: Sequence[Rewards],
    encoded: Encoded,
    stats: UpdateStats,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Record of one step; a number that does not exist (a mean over nothing) is None. `grids` are the
    advantages [M, G] of each question.

    Means over all completions: `reward`, `accuracy`, `format` and `own`, the parts of a user's own reward by
    name; the same for each problem type of the step in `by_problem_type`. Shares of the questions: those
    whose answers are all equally accurate, `zero_advantage_share` (left out of the update), and of them
    `all_right_share` and `all_wrong_share`. `eta2`: share of a question's reward variance that lies between
    its variants, mean over the questions that have any. `tokens` were sampled, `update_tokens` learned from,
    counted once for each update.
    """
    completions = [completion for r in rollouts for row in r.completions for completion in row]
    record: dict[str, Any] = {
        "step": step,
        "questions": len(rollouts),
        "dropped": [i for i, _ in encoded.dropped],
    }
    record |= _reward_means(rollouts)
    record["by_problem_type"] = {
        kind: {"questions": len(some)} | _reward_means(some)
        for kind, some in _by_problem_type(rollouts).items()
    }
    record |= _shares([reward_grid(rollout, "accuracy") for rollout in rollouts])
    record["eta2"] = _mean([e for r in rollouts if not math.isnan(e := variance_parts(reward_grid(r)).eta2)])
    record["reward_by_variant"] = _by_variant([reward_grid(rollout) for rollout in rollouts])
    record["advantage_by_variant"] = _by_variant(grids)
    record["completion_tokens"] = _mean([len(completion.ids) for completion in completions])
    record["truncated_share"] = _mean([not completion.finished for completion in completions])
    record["prompt_tokens"] = _mean([len(p.ids) for prompts in encoded.prompts for p in prompts])
    record["tokens"] = sum(len(completion.ids) for completion in completions)
    update = asdict(stats)
    record["update_tokens"] = update.pop("tokens")
    record["updates"] = update.pop("updates")
    record |= {name: _number(value) for name, value in update.items()}
    record["seconds"] = {name: round(value, 4) for name, value in seconds.items()}
    return record


def readable(
    step: int, rollouts: Sequence[Rollout], grids: Sequence[Rewards], *, questions: int = 2
) -> list[dict[str, Any]]:
    """A few sampled answers of a step, to be read by people: the first of each variant of some questions.

    `grids` are the advantages [M, G] of each question.
    """
    rows = []
    for rollout, grid in zip(rollouts[:questions], grids, strict=False):
        question = rollout.group.question
        for m, view in enumerate(rollout.group.views):
            reward = rollout.rewards[m][0]
            rows.append(
                {
                    "step": step,
                    "sample_id": question.sample_id,
                    "variant": m,
                    "times": [round(float(t), 3) for t in view.times],
                    "view": view.spatial,
                    "question": question.question,
                    "answer": question.answer,
                    "completion": rollout.completions[m][0].text,
                    "finished": rollout.completions[m][0].finished,
                    "reward": reward.total,
                    **reward.parts,
                    "advantage": round(float(grid[m, 0]), 4),
                }
            )
    return rows


def _shares(accuracies: list[Any]) -> dict[str, float | None]:
    equal = [is_uninformative(grid) for grid in accuracies]
    right = [same and grid.flat[0] == 1 for same, grid in zip(equal, accuracies, strict=True)]
    wrong = [same and grid.flat[0] == 0 for same, grid in zip(equal, accuracies, strict=True)]
    return {
        "zero_advantage_share": _mean(equal),
        "all_right_share": _mean(right),
        "all_wrong_share": _mean(wrong),
    }


def _reward_means(rollouts: Sequence[Rollout]) -> dict[str, Any]:
    own = rollouts[0].rewards[0][0].own if rollouts else ()
    return {
        "reward": _part_mean(rollouts, "total"),
        "accuracy": _part_mean(rollouts, "accuracy"),
        "format": _part_mean(rollouts, "format"),
        "own": {name: _part_mean(rollouts, name) for name in own},
    }


def _part_mean(rollouts: Sequence[Rollout], part: str) -> float | None:
    return _mean([reward_grid(rollout, part).mean() for rollout in rollouts])


def _by_problem_type(rollouts: Sequence[Rollout]) -> dict[str, list[Rollout]]:
    kinds = sorted({rollout.group.question.problem_type for rollout in rollouts})
    return {kind: [r for r in rollouts if r.group.question.problem_type == kind] for kind in kinds}


def _by_variant(grids: Sequence[Rewards]) -> list[float]:
    if not grids:
        return []
    return [float(mean) for mean in np.mean([grid.mean(axis=1) for grid in grids], axis=0)]


def _mean(values: Sequence[Any]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
