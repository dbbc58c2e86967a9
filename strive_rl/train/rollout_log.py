"""A few sampled answers of a step, kept to be read by people (`strive-rl show`). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strive_rl.policy.encode import user_text
from strive_rl.schema import Rewards, Rollout


def readable(
    step: int, rollouts: Sequence[Rollout], grids: Sequence[Rewards], *, questions: int = 2
) -> list[dict[str, Any]]:
    """Rows of rollouts.jsonl: of the first questions, the best and the worst answer under each variant.

    Best and worst by reward, the first of equals; one row where they are the same. `grids` are the
    advantages [M, G] of each question.
    """
    return [
        _row(step, rollout, grid, m, g)
        for rollout, grid in zip(rollouts[:questions], grids, strict=False)
        for m in range(len(rollout.completions))
        for g in _extremes([reward.total for reward in rollout.rewards[m]])
    ]


def _extremes(rewards: Sequence[float]) -> list[int]:
    """Places of the largest and of the smallest, the first of equals."""
    places = range(len(rewards))
    return list(dict.fromkeys([max(places, key=rewards.__getitem__), min(places, key=rewards.__getitem__)]))


def _row(step: int, rollout: Rollout, grid: Rewards, m: int, g: int) -> dict[str, Any]:
    question, view = rollout.group.question, rollout.group.views[m]
    completion, reward = rollout.completions[m][g], rollout.rewards[m][g]
    return {
        "step": step,
        "sample_id": question.sample_id,
        "variant": m,
        "place": g,
        "times": [round(float(t), 3) for t in view.times],
        "view": view.spatial,
        "question": question.question,
        "prompt": user_text(question, rollout.group.wording),
        "answer": question.answer,
        "completion": completion.text,
        "tokens": len(completion.ids),
        "finished": completion.finished,
        "reward": reward.total,
        **reward.parts,
        "advantage": round(float(grid[m][g]), 4),
    }
