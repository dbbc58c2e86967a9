"""What a process tells of its questions, and that it can be sent to another process."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from strive_rl.data import Batch, Cursor
from strive_rl.facts import question_facts, step_facts
from strive_rl.rollout import Encoded, rewarded
from strive_rl.schema import Completion, Group
from strive_rl.update import UpdateStats

TWO_VIEWS = ((0.5, 1.0), (0.0, 9.0))


def said(text: str, length: int = 1, finished: bool = True, entropy: float = 0.5) -> Completion:
    return Completion(
        ids=(1,) * length,
        logprobs=(-1.0,) * length,
        text=text,
        finished=finished,
        entropies=(entropy,) * length,
    )


ANSWERS = (
    (said("<answer>A</answer>"), said("<answer>B</answer>", 3)),
    (said("<answer>B</answer>", 2), said("<answer>", 4, False, 0.25)),
)


def test_facts_of_a_question(make_group: Callable[..., Group]) -> None:
    group = make_group("q7", TWO_VIEWS)
    group = replace(group, question=replace(group.question, evidence_spans=((1.0, 2.0), (20.0, 30.0))))
    made = question_facts(rewarded(group, ANSWERS), np.array([[2.0, -1.0], [-0.5, -0.5]]), [11, 12])
    assert (made.sample_id, made.problem_type) == ("q7", "multiple choice")
    assert made.rewards == {
        "total": ((0.9, 0.0), (0.0, 0.0)),
        "accuracy": ((1.0, 0.0), (0.0, 0.0)),
        "format": ((0.0, 0.0), (0.0, 0.0)),
    }
    assert made.advantages == ((2.0, -1.0), (-0.5, -0.5))
    assert (made.lengths, made.prompt_tokens) == (((1, 3), (2, 4)), (11, 12))
    assert made.finished == ((True, True), (True, False))
    assert (made.entropy_nats, made.entropy_tokens) == (6 * 0.5 + 4 * 0.25, 10)
    assert made.evidence_seen == (True, False)


def test_nothing_is_said_of_evidence_that_is_not_known(make_group: Callable[..., Group]) -> None:
    made = question_facts(rewarded(make_group("q", TWO_VIEWS), ANSWERS), np.zeros((2, 2)), [11, 12])
    assert made.evidence_seen == ()


def test_facts_of_a_step_are_plain_and_can_be_sent() -> None:
    encoded = Encoded(groups=(), prompts=(), dropped=(("long", "too long"),))
    batch = Batch(groups=(), picks=(), broken=(), after=Cursor())
    made = step_facts([], [], encoded, batch, UpdateStats(tokens=3, loss=1.0), seconds={}, memory_bytes={})
    assert made.dropped == ("long",)
    sent = pickle.loads(pickle.dumps(made))
    assert (sent.stats.tokens, sent.questions) == (3, ())
