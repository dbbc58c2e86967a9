"""Records of a step, by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from strive_data.schema import Question
from strive_rl.metrics import readable, step_record
from strive_rl.reward import Rules, score
from strive_rl.rollout import Encoded, rewarded
from strive_rl.schema import Completion, Group, Rollout
from strive_rl.update import UpdateStats

TWO_VIEWS = ((0.5, 1.0), (0.0, 2.12345))


def said(text: str, length: int = 1, finished: bool = True) -> Completion:
    return Completion(ids=(1,) * length, logprobs=(-1.0,) * length, text=text, finished=finished)


@pytest.fixture
def rollouts(make_group: Callable[..., Group]) -> list[Rollout]:
    right, wrong, cut = said("<answer>A</answer>"), said("<answer>B</answer>", 3), said("<answer>", 4, False)
    return [
        rewarded(make_group("mixed", TWO_VIEWS), ((right, right), (wrong, wrong))),
        rewarded(make_group("right", TWO_VIEWS), ((right, right), (right, right))),
        rewarded(make_group("wrong", TWO_VIEWS), ((wrong, wrong), (wrong, wrong))),
        rewarded(make_group("cut", TWO_VIEWS), ((wrong, wrong), (wrong, cut))),
    ]


def record(rollouts: list[Rollout], stats: UpdateStats) -> dict[str, Any]:
    encoded = Encoded(groups=(), prompts=(), dropped=(("long", "too long"),))
    grids = [np.array([[0.5], [-1.0]])[: len(rollout.completions)] for rollout in rollouts]
    return step_record(4, rollouts, grids, encoded, stats, {"data": 0.12345, "total": 0.12345})


def test_the_record_by_hand(rollouts: list[Rollout]) -> None:
    made = record(rollouts, UpdateStats(loss=0.5, ratio=1.0, clipped=0.0, kl=0.0, grad_norm=2.0, tokens=8))
    assert made["step"] == 4
    assert made["questions"] == 4
    assert made["dropped"] == ["long"]
    assert made["accuracy"] == 6 / 16
    assert made["reward"] == pytest.approx(0.9 * 6 / 16)
    assert made["format"] == 0
    assert made["own"] == {}
    assert made["by_problem_type"]["multiple choice"] == {
        "questions": 4,
        "reward": made["reward"],
        "accuracy": 6 / 16,
        "format": 0,
        "own": {},
    }
    assert made["zero_advantage_share"] == 3 / 4
    assert made["all_right_share"] == 1 / 4
    assert made["all_wrong_share"] == 2 / 4
    assert made["eta2"] == 1.0
    assert made["reward_by_variant"] == pytest.approx([0.45, 0.225])
    assert made["advantage_by_variant"] == [0.5, -1.0]
    assert made["completion_tokens"] == (6 * 1 + 9 * 3 + 4) / 16
    assert made["truncated_share"] == 1 / 16
    assert made["tokens"] == 37
    assert (made["loss"], made["grad_norm"], made["update_tokens"]) == (0.5, 2.0, 8)
    assert made["logprob_gap"] is None
    assert made["seconds"] == {"data": 0.1235, "total": 0.1235}
    json.dumps(made, allow_nan=False)


def test_a_step_in_which_every_question_was_dropped() -> None:
    made = record([], UpdateStats())
    assert made["reward"] is None
    assert made["zero_advantage_share"] is None
    assert made["reward_by_variant"] == made["advantage_by_variant"] == []
    json.dumps(made, allow_nan=False)


def test_every_part_of_the_reward_is_written_by_problem_type(make_group: Callable[..., Group]) -> None:
    rules = Rules(weights={"accuracy": 0.5, "format": 0.0, "brief": 0.5}, function=brief, name="here:brief")
    answers = ((said("<answer>A</answer>"), said("A")),)
    choice, number = make_group("choice"), make_group("number")
    truth = replace(number.question, problem_type="numerical", options=(), answer="2")
    number = replace(number, question=truth)
    rollouts = [rewarded(group, answers, partial(score, rules=rules)) for group in (choice, number)]
    made = record(rollouts, UpdateStats())
    assert (made["accuracy"], made["own"], made["reward"]) == (1 / 4, {"brief": 1 / 2}, 3 / 8)
    kinds = made["by_problem_type"]
    assert [kinds[name]["accuracy"] for name in ("multiple choice", "numerical")] == [1 / 2, 0]
    assert kinds["numerical"]["own"] == {"brief": 1 / 2}
    (row, _) = readable(4, rollouts, [np.zeros((1, 2))] * 2)
    assert (row["accuracy"], row["format"], row["brief"], row["reward"]) == (1, 0, 0, 0.5)


def brief(text: str, question: Question) -> dict[str, float]:
    return {"brief": float(len(text) == 1)}


def test_answers_to_read(rollouts: list[Rollout]) -> None:
    rows = readable(4, rollouts, [np.array([[1.0, 0.5], [-1.0, 0.0]])] * 4, questions=1)
    assert [(row["sample_id"], row["variant"], row["completion"]) for row in rows] == [
        ("mixed", 0, "<answer>A</answer>"),
        ("mixed", 1, "<answer>B</answer>"),
    ]
    assert [row["advantage"] for row in rows] == [1.0, -1.0]
    assert rows[1]["times"] == [0.0, 2.123]
    assert rows[1]["view"] == "whole"
