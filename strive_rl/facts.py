"""What a process knows of its part of a step: plain numbers that can be sent to another process.

With several processes each makes its own `StepFacts`; the record of the step (`metrics`) is a function of all
of them, so that its means are over all questions and never means of means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from strive_rl.data import Batch
from strive_rl.evidence import evidence_seen
from strive_rl.rollout import Encoded, reward_grid
from strive_rl.schema import Rewards, Rollout
from strive_rl.update import UpdateStats

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
