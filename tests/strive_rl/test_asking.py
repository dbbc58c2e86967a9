"""Asking every question once under all of its variants."""

from __future__ import annotations

from strive_rl.asking import alone, ask_once
from tests.strive_rl.asked_questions import FakePolicy, made_batch


def test_every_question_has_its_variants_asked_at_once() -> None:
    policy = FakePolicy(chance=lambda p, alpha: float(p == 1), completions=3, unreadable={2: 0})
    asked = ask_once(made_batch([0, 1, 2], variants=2), policy.stages)
    assert policy.calls == [(0, [0, 1])]
    assert asked.waves == 1
    assert asked.encoded.dropped == (("q2", "too long"),)
    shapes = [[len(row) for row in rollout.completions] for rollout in asked.rollouts]
    assert shapes == [[3, 3], [3, 3]]
    assert [rollout.rewards[0][0].accuracy for rollout in asked.rollouts] == [0, 1]


def test_one_process_is_everyone() -> None:
    assert alone([3, 4]) == [3, 4]
