"""What a step is worth writing down: one record for metrics.jsonl. Pure.

METRICS.md has every name with its formula and what is healthy; a test holds the two together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np

from strive_rl.algorithm.advantage import has_zero_advantage, variance_parts
from strive_rl.data import Batch
from strive_rl.data.views import evidence_seen
from strive_rl.rollout.builtin import Encoded, reward_grid
from strive_rl.schema import Rewards, Rollout
from strive_rl.train.update import UpdateStats

# What a process knows of its part of a step: plain numbers that can be sent to another process.
#
# With several processes each makes its own `StepFacts`; the record of the step (`metrics`) is a function of
# all
# of them, so that its means are over all questions and never means of means.

Grid = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class QuestionFacts:
    """One question with its M×G completions; M may differ between questions.

    `rewards` by part, `total` among them, `advantages`, `lengths` in tokens and `finished` are [M][G];
    `prompt_tokens` [M]. `entropy_nats` is the sum over the `entropy_tokens` tokens whose entropy is known.
    `evidence_seen` [M]: whether a frame of the variant lies in the evidence; empty where none is known.
    """

    sample_id: str
    problem_type: str
    rewards: Mapping[str, Grid]
    advantages: Grid
    lengths: tuple[tuple[int, ...], ...]
    finished: tuple[tuple[bool, ...], ...]
    prompt_tokens: tuple[int, ...]
    entropy_nats: float
    entropy_tokens: int
    evidence_seen: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """The part of a step that one process did. `dropped` are the ids of questions that could not be encoded,
    `broken` those whose stored data is damaged, with the reason; `stats` counts this process's tokens."""

    questions: tuple[QuestionFacts, ...]
    dropped: tuple[str, ...]
    broken: tuple[Mapping[str, Any], ...]
    stats: UpdateStats
    seconds: Mapping[str, float]
    memory_bytes: Mapping[str, int]


def step_facts(
    rollouts: Sequence[Rollout],
    grids: Sequence[Rewards],
    encoded: Encoded,
    batch: Batch,
    stats: UpdateStats,
    *,
    seconds: Mapping[str, float],
    memory_bytes: Mapping[str, int],
) -> StepFacts:
    """The facts of these rollouts; `grids` are the advantages [M, G] of each question."""
    questions = (
        question_facts(rollout, grid, [len(prompt.ids) for prompt in prompts])
        for rollout, grid, prompts in zip(rollouts, grids, encoded.prompts, strict=True)
    )
    return StepFacts(
        questions=tuple(questions),
        dropped=tuple(sample_id for sample_id, _ in encoded.dropped),
        broken=tuple(asdict(each) for each in batch.broken),
        stats=stats,
        seconds=seconds,
        memory_bytes=memory_bytes,
    )


def question_facts(rollout: Rollout, grid: Rewards, prompt_tokens: Sequence[int]) -> QuestionFacts:
    """The facts of one question; `grid` are its advantages [M, G]."""
    completions, question = rollout.completions, rollout.group.question
    parts = ["total", *rollout.rewards[0][0].parts]
    entropies = [value for row in completions for each in row for value in each.entropies]
    return QuestionFacts(
        sample_id=question.sample_id,
        problem_type=question.problem_type,
        rewards={part: _rows(reward_grid(rollout, part)) for part in parts},
        advantages=_rows(grid),
        lengths=tuple(tuple(len(each.ids) for each in row) for row in completions),
        finished=tuple(tuple(each.finished for each in row) for row in completions),
        prompt_tokens=tuple(prompt_tokens),
        entropy_nats=float(sum(entropies)),
        entropy_tokens=len(entropies),
        evidence_seen=_evidence_seen(rollout),
    )


def _evidence_seen(rollout: Rollout) -> tuple[bool, ...]:
    spans = rollout.group.question.evidence_spans
    told = (evidence_seen(view.times.tolist(), spans) for view in rollout.group.views)
    return tuple(each for each in told if each is not None)


def _rows(grid: Rewards) -> Grid:
    return tuple(tuple(float(value) for value in row) for row in grid)


# What the machine decides and not the seed: two equal runs agree in all else.
MEASURED = ("seconds", "per_second", "memory_bytes")
# Of UpdateStats: means over tokens.
TOKEN_MEANS = ("ratio", "clipped", "kl", "reference_kl", "importance", "capped")


def step_record(step: int, parts: Sequence[StepFacts], *, learning_rate: float) -> dict[str, Any]:
    """Record of one step, from what each process knows of it; None for a number that does not exist (a mean
    over nothing)."""
    questions = [question for part in parts for question in part.questions]
    seconds = _largest([part.seconds for part in parts])
    stats = together([part.stats for part in parts])
    counted = _counts(questions)
    return {
        "step": step,
        "questions": len(questions),
        "dropped": [sample_id for part in parts for sample_id in part.dropped],
        "broken": [dict(each) for part in parts for each in part.broken],
        **_reward_means(questions),
        "by_problem_type": _by_problem_type(questions),
        **_shares([question.rewards["accuracy"] for question in questions]),
        "reward_std": mean(np.std(_flat(question.rewards["total"])) for question in questions),
        "eta2": mean(_known(variance_parts(question.rewards["total"]).eta2 for question in questions)),
        "reward_by_variant": by_variant([question.rewards["total"] for question in questions]),
        "advantage_by_variant": by_variant([question.advantages for question in questions]),
        **_evidence(questions),
        **_lengths(questions),
        **counted,
        **_update(stats),
        "learning_rate": learning_rate,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "per_second": _per_second(counted, len(questions), stats, seconds.get("total", 0.0)),
        "memory_bytes": _largest([part.memory_bytes for part in parts]),
    }


def together(stats: Sequence[UpdateStats]) -> UpdateStats:
    """The stats of all processes, each of which counts its own tokens and its own share of the loss.

    A process that learned nothing has NaN and no weight. The gradient norm is the same on all that have one.
    """
    taught = [each for each in stats if each.tokens]
    if not taught:
        return UpdateStats()
    tokens = sum(each.tokens for each in taught)
    means = {name: sum(getattr(each, name) * each.tokens for each in taught) / tokens for name in TOKEN_MEANS}
    return UpdateStats(
        **means,
        loss=sum(each.loss for each in taught),
        logprob_gap=max(each.logprob_gap for each in taught),
        grad_norm=taught[0].grad_norm,
        tokens=tokens,
        updates=max(each.updates for each in taught),
    )


def mean(values: Iterable[Any]) -> float | None:
    """The mean as a plain number; None of nothing."""
    listed = list(values)
    return float(np.mean(listed)) if listed else None


def by_variant(grids: Sequence[Grid]) -> list[float]:
    """Mean of each variant's row, over the questions that have that variant."""
    most = max((len(grid) for grid in grids), default=0)
    return [float(np.mean([np.mean(grid[m]) for grid in grids if len(grid) > m])) for m in range(most)]


def _shares(accuracies: Sequence[Grid]) -> dict[str, float | None]:
    equal = [has_zero_advantage(grid) for grid in accuracies]
    right = [same and grid[0][0] == 1 for same, grid in zip(equal, accuracies, strict=True)]
    wrong = [same and grid[0][0] == 0 for same, grid in zip(equal, accuracies, strict=True)]
    return {
        "zero_advantage_share": mean(equal),
        "all_right_share": mean(right),
        "all_wrong_share": mean(wrong),
    }


def _reward_means(questions: Sequence[QuestionFacts]) -> dict[str, Any]:
    parts = dict.fromkeys(chain.from_iterable(question.rewards for question in questions))
    means = {
        part: mean(
            np.mean(_flat(question.rewards[part])) for question in questions if part in question.rewards
        )
        for part in parts
    }
    return {
        "reward": means.pop("total", None),
        "accuracy": means.pop("accuracy", None),
        "format": means.pop("format", None),
        "own": means,
    }


def _by_problem_type(questions: Sequence[QuestionFacts]) -> dict[str, Any]:
    kinds = {kind: [q for q in questions if q.problem_type == kind] for kind in _kinds(questions)}
    return {kind: {"questions": len(some)} | _reward_means(some) for kind, some in kinds.items()}


def _kinds(questions: Sequence[QuestionFacts]) -> list[str]:
    return sorted({question.problem_type for question in questions})


def _evidence(questions: Sequence[QuestionFacts]) -> dict[str, float | None]:
    """Accuracy of variants, apart by whether they show the evidence."""
    rows = [
        (seen, float(np.mean(row)))
        for question in questions
        if question.evidence_seen
        for seen, row in zip(question.evidence_seen, question.rewards["accuracy"], strict=True)
    ]
    return {
        "evidence_seen_share": mean(seen for seen, _ in rows),
        "accuracy_evidence_seen": mean(accuracy for seen, accuracy in rows if seen),
        "accuracy_evidence_unseen": mean(accuracy for seen, accuracy in rows if not seen),
    }


def _lengths(questions: Sequence[QuestionFacts]) -> dict[str, Any]:
    lengths = [length for question in questions for length in _flat(question.lengths)]
    prompts = [tokens for question in questions for tokens in question.prompt_tokens]
    known = sum(question.entropy_tokens for question in questions)
    nats = sum(question.entropy_nats for question in questions)
    return {
        "completion_tokens": mean(lengths),
        "completion_tokens_max": max(lengths, default=None),
        "truncated_share": mean(not done for question in questions for done in _flat(question.finished)),
        "prompt_tokens": mean(prompts),
        "prompt_tokens_max": max(prompts, default=None),
        "entropy": nats / known if known else None,
    }


def _counts(questions: Sequence[QuestionFacts]) -> dict[str, int]:
    """What was read and sampled: both cost, so methods are to be compared at equal numbers of both."""
    return {
        "prompts": sum(len(question.prompt_tokens) for question in questions),
        "rollouts": sum(len(_flat(question.lengths)) for question in questions),
        "tokens": sum(sum(_flat(question.lengths)) for question in questions),
        "tokens_read": sum(sum(question.prompt_tokens) for question in questions),
    }


def _update(stats: UpdateStats) -> dict[str, float | int | None]:
    numbers = asdict(stats)
    counts = {"update_tokens": numbers.pop("tokens"), "updates": numbers.pop("updates")}
    return counts | {name: _number(value) for name, value in numbers.items()}


def _per_second(
    counted: Mapping[str, int], questions: int, stats: UpdateStats, seconds: float
) -> dict[str, float | None]:
    amounts = {
        "questions": questions,
        "rollouts": counted["rollouts"],
        "tokens": counted["tokens"],
        "tokens_read": counted["tokens_read"],
        "update_tokens": stats.tokens,
    }
    return {name: round(amount / seconds, 3) if seconds else None for name, amount in amounts.items()}


def _largest(given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each name the largest value of any process: the slowest, the fullest."""
    names = dict.fromkeys(chain.from_iterable(given))
    return {name: max(each[name] for each in given if name in each) for name in names}


def _known(values: Iterable[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _flat(grid: Sequence[Sequence[Any]]) -> list[Any]:
    return [value for row in grid for value in row]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
