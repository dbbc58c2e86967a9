"""The rollout log: a few completions of a step, kept for people to read (`strive-rl show`). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strive_rl.policy.encode import user_text
from strive_rl.rollout.groups import informative
from strive_rl.schema import Group

QUESTIONS_KEPT = 2


def log_rows(step: int, groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Rows of rollouts.jsonl: of each question, the best and the worst completion under each variant.

    Best and worst by reward, the first of equals; one row where they are the same.
    """
    return [
        _row(step, group, m, g)
        for group in groups
        for m in range(len(group.completions))
        for g in _extremes([reward.total for reward in group.rewards[m]])
    ]


def _extremes(rewards: Sequence[float]) -> list[int]:
    """Places of the largest and of the smallest, the first of equals."""
    places = range(len(rewards))
    return list(dict.fromkeys([max(places, key=rewards.__getitem__), min(places, key=rewards.__getitem__)]))


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
        "informative": informative(group),
    }
