"""Facts of questions, made by hand."""

from __future__ import annotations

from typing import Any

from strive_rl.train.metrics import Grid, QuestionFacts, StepFacts
from strive_rl.train.update import UpdateStats


def question(accuracy: Grid, **changes: Any) -> QuestionFacts:
    """A question of these accuracies: reward as accuracy, answers of 2 tokens, prompts of 10."""
    rows = {"total": accuracy, "accuracy": accuracy, "format": accuracy}
    made = {
        "sample_id": "q",
        "problem_type": "multiple choice",
        "rewards": rows,
        "advantages": accuracy,
        "lengths": tuple((2,) * len(row) for row in accuracy),
        "finished": tuple((True,) * len(row) for row in accuracy),
        "prompt_tokens": (10,) * len(accuracy),
        "entropy_nats": 0.0,
        "entropy_tokens": 0,
        "evidence_seen": (),
    }
    return QuestionFacts(**(made | changes))


def part(*questions: QuestionFacts, **changes: Any) -> StepFacts:
    """What one process knows of a step with these questions."""
    made = {
        "questions": questions,
        "dropped": (),
        "broken": (),
        "stats": UpdateStats(),
        "seconds": {"rollout": 1.5, "total": 2.0},
        "memory_bytes": {"process": 100},
    }
    return StepFacts(**(made | changes))
