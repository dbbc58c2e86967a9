"""Which answers are kept to be read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from strive_rl.policy.encode import user_text
from strive_rl.rollout.builtin import rewarded
from strive_rl.schema import Completion, Group
from strive_rl.train.rollout_log import readable

TWO_VIEWS = ((0.5, 1.0), (0.0, 2.12345))


def said(text: str) -> Completion:
    return Completion(ids=(1, 2), logprobs=(-1.0, -1.0), text=text, finished=True)


def test_the_best_and_the_worst_answer_of_each_variant(make_group: Callable[..., Group]) -> None:
    wrong, right = said("<answer>B</answer>"), said("<answer>A</answer>")
    rollout = rewarded(make_group("mixed", TWO_VIEWS), ((wrong, right, wrong), (wrong, wrong, wrong)))
    grid = np.array([[-0.5, 1.00001, -0.5], [0.0, 0.0, 0.0]])
    rows = readable(4, [rollout, rollout], [grid, grid], questions=1)
    assert [(row["variant"], row["place"], row["completion"]) for row in rows] == [
        (0, 1, "<answer>A</answer>"),
        (0, 0, "<answer>B</answer>"),
        (1, 0, "<answer>B</answer>"),
    ]
    assert [(row["reward"], row["accuracy"], row["advantage"]) for row in rows] == [
        (0.9, 1, 1.0),
        (0, 0, -0.5),
        (0, 0, 0.0),
    ]
    assert {(row["step"], row["sample_id"], row["tokens"], row["finished"]) for row in rows} == {
        (4, "mixed", 2, True)
    }
    assert rows[2]["times"] == [0.0, 2.123]
    assert rows[0]["view"] == "whole"
    assert rows[0]["prompt"] == user_text(rollout.group.question)


def test_two_questions_of_a_step_are_kept(make_group: Callable[..., Group]) -> None:
    rollouts = [rewarded(make_group(name), ((said("x"),),)) for name in "abc"]
    assert [row["sample_id"] for row in readable(1, rollouts, [np.zeros((1, 1))] * 3)] == ["a", "b"]
