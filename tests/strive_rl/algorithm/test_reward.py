"""Parts, their weights, and what stops a run instead of becoming a 0."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from strive_data.errors import SettingsError, StriveError, UsageError
from strive_data.schema import Question
from strive_rl.algorithm.reward import (
    Rules,
    custom_parts,
    load_rules,
    reward_of,
    rewards_of,
)
from strive_rl.common.calls import CallLimits
from strive_rl.config import RewardSettings
from strive_rl.schema import Reward
from tests.strive_data.made.samples import a_question


def test_the_parts_of_a_reward_by_name_the_custom_ones_last() -> None:
    assert Reward(accuracy=0.5, format=1.0, total=0.55).parts == {"accuracy": 0.5, "format": 1.0}
    custom = Reward(accuracy=0.5, format=1.0, total=0.6, custom={"brevity": 0.1})
    assert list(custom.parts.items()) == [("accuracy", 0.5), ("format", 1.0), ("brevity", 0.1)]


def test_a_function_of_a_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rewards.py").write_text(
        "def brief(text, question):\n"
        "    return {'brief': float(len(text) < 9), 'asked': bool(question.options)}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    function = load_rules(RewardSettings(function="my_rewards:brief")).function
    assert custom_parts(function("short", QUESTION), "here") == {"brief": 1.0, "asked": 1.0}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("brief", "expected package.module:function or file.py:function"),
        ("rewards.py:f", r"no file rewards\.py \(looked in /"),
        ("my_rewards:", "expected package.module:function"),
        ("no_such_module:f", r"cannot import no_such_module: .* PYTHONPATH\?"),
        ("math:pi", "math has no function pi"),
    ],
)
def test_names_that_are_no_function(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        load_rules(RewardSettings(function=name))


OPTIONS = ("A. a man", "B. a dog", "C. a cat", "D. the red car")
QUESTION = a_question("q7", question="What?", answer="D", options=OPTIONS)
RIGHT = "<answer>D</answer>"


def rules(weights: dict[str, float], result: Any) -> Rules:
    """Rules with a user's function that gives `result`, or raises it."""

    def custom(text: str, question: Question) -> Any:
        if isinstance(result, BaseException):
            raise result
        return result(text, question) if callable(result) else result

    return Rules(weights=weights, function=custom, name="mine:reward")


def test_parts_are_weighed() -> None:
    right = reward_of("I think <answer>D</answer>", QUESTION)
    assert (right.accuracy, right.format, right.total) == (1, 0, 0.9)
    wrong = reward_of("<think>x</think><answer>A</answer>", QUESTION)
    assert (wrong.accuracy, wrong.format, wrong.total) == (0, 1, 0.1)
    assert wrong.parts == {"accuracy": 0, "format": 1}


def test_length_earns_nothing() -> None:
    short, long = (reward_of(f"<think>{'x ' * n}</think><answer>D</answer>", QUESTION) for n in (1, 400))
    assert short == long


def test_other_weights() -> None:
    half = load_rules(RewardSettings(weights={"accuracy": 0.5, "format": 0.5}))
    assert reward_of(RIGHT, QUESTION, half).total == 0.5


@pytest.mark.parametrize("result", [0.25, 1 / 4, {"custom": 0.25}])
def test_a_function_gives_a_part(result: Any) -> None:
    reward = reward_of(RIGHT, QUESTION, rules({"accuracy": 0.5, "format": 0.1, "custom": 0.4}, result))
    assert (reward.custom, reward.accuracy) == ({"custom": 0.25}, 1)
    assert reward.total == pytest.approx(0.5 + 0.4 * 0.25)


def test_a_function_sees_the_text_and_the_question_and_gives_several_parts() -> None:
    def parts(text: str, question: Question) -> dict[str, float]:
        return {"named": float(question.sample_id == "q7"), "length": len(text) / 36, "accuracy": 0.5}

    reward = reward_of(
        RIGHT, QUESTION, rules({"accuracy": 0.5, "format": 0, "named": 0.5, "length": 0}, parts)
    )
    assert reward.custom == {"named": 1, "length": 0.5}
    # Its accuracy takes the place of ours, and what weighs nothing is only logged.
    assert (reward.accuracy, reward.total) == (0.5, 0.75)


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (ZeroDivisionError("none"), r"raised ZeroDivisionError: none \(test_reward.py, line \d+\)$"),
        (SystemExit(3), r"raised SystemExit: 3 \(test_reward.py, line \d+\)$"),
        (BaseException("odd"), r"raised BaseException: odd \(test_reward.py, line \d+\)$"),
        (ValueError("two\nlines"), r"raised ValueError: two \(test_reward.py, line \d+\)$"),
        (float("nan"), "gave custom = nan, expected a number from 0 to 1"),
        (np.eye(2), r"gave custom = array\(\[\[1., 0.\], \[0., 1.\]\]\), expected a number"),
        (float("inf"), "gave custom = inf, expected"),
        (1.5, "gave custom = 1.5, expected"),
        (10**400, "expected a number from 0 to 1"),
        (-0.1, "gave custom = -0.1, expected"),
        (None, "gave custom = None, expected"),
        ("1", "gave custom = '1', expected"),
        ({"custom": [1]}, r"gave custom = \[1\], expected"),
        ({"total": 1.0}, "gave a part called 'total', expected a plain name"),
        ({2: 1.0}, "gave a part called 2, expected"),
        ({}, "gave no custom, which has a weight"),
        ({"custom": 1.0, "extra": 1.0}, r"gave extra, .* set reward\.weights\.extra"),
    ],
)
def test_what_breaks_the_contract_stops_with_the_question(result: Any, says: str) -> None:
    broken = rules({"accuracy": 0.5, "format": 0.1, "custom": 0.4}, result)
    with pytest.raises(StriveError, match=rf"^question q7: reward\.function.* {says}"):
        reward_of(RIGHT, QUESTION, broken)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"accuracy": 1.0}, "expected a weight for accuracy and format too"),
        ({"accuracy": 0.9, "format": 0.2}, "got a sum of 1.1, expected 1"),
        ({"accuracy": 1.1, "format": -0.1}, "got -0.1, expected 0 or more"),
        ({"accuracy": float("nan"), "format": 0.1}, "expected"),
        ({"accuracy": 0.8, "format": 0.1, "mine": 0.1}, "reward.weights: got mine"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights: dict[str, float], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        RewardSettings(weights=weights)


WEIGHTS = {"accuracy": 0.5, "format": 0.1, "custom": 0.4}


def test_a_file_is_a_module_that_may_import_its_neighbours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "limits_of_brief.py").write_text("LONGEST = 20\n")
    (tmp_path / "rewards.py").write_text(
        "from limits_of_brief import LONGEST\n"
        "def brief(text, question):\n    return float(len(text) < LONGEST)\n"
        "class Count:\n    pass\n"
    )
    (tmp_path / "broken.py").write_text("1/0\n")
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    by_file = load_rules(RewardSettings(weights=WEIGHTS, function="rewards.py:brief"))
    brief, long = (reward_of(text, QUESTION, by_file) for text in (RIGHT, RIGHT + "x" * 9))
    assert (brief.custom, long.custom) == ({"custom": 1}, {"custom": 0})
    by_path = load_rules(RewardSettings(function=str(tmp_path / "rewards.py:brief")))
    assert by_path.function is by_file.function
    with pytest.raises(UsageError, match=r"broken\.py raised ZeroDivisionError.*line 1"):
        load_rules(RewardSettings(function="broken.py:f"))


def test_a_function_that_sees_the_group_is_called_once_a_question() -> None:
    seen = []

    def rank(texts: list[list[str]], question: Question) -> list[list[float]]:
        seen.append(question.sample_id)
        flat = sorted(text for row in texts for text in row)
        return [[flat.index(text) / len(flat) for text in row] for row in texts]

    grouped = Rules(weights=WEIGHTS, function=rank, name="mine:rank", sees_group=True)
    (grid,), _ = rewards_of([([["a", "d"], ["c", "b"]], QUESTION)], grouped)
    assert [[reward.custom["custom"] for reward in row] for row in grid] == [[0, 0.75], [0.5, 0.25]]
    assert seen == ["q7"]


@pytest.mark.parametrize("result", [[[1.0]], [[1.0, 1.0, 1.0], [1.0]], 1.0, {"a": 1.0}, [1.0, 1.0]])
def test_a_group_of_another_shape_stops(result: object) -> None:
    grouped = Rules(
        weights=WEIGHTS, function=lambda texts, question: result, name="mine:rank", sees_group=True
    )
    with pytest.raises(StriveError, match=r"step 2, question q7: .* expected lists of lengths \[2, 2\]"):
        rewards_of([([["a", "d"], ["c", "b"]], QUESTION)], grouped, step=2)


def test_a_call_that_fails_leaves_out_its_question_and_never_gives_a_0() -> None:
    async def picky(text: str, question: Question) -> float:
        await asyncio.sleep(0.01)
        if text == "bad":
            raise ConnectionError("gone")
        return 1.0

    mine = Rules(weights=WEIGHTS, function=picky, name="mine:picky", limits=CallLimits(at_once=4))
    (good, bad), calls = rewards_of([([["good"]], QUESTION), ([["good", "bad"]], QUESTION)], mine, step=5)
    assert not isinstance(good, StriveError)
    assert good[0][0].custom == {"custom": 1.0}
    assert isinstance(bad, StriveError)
    assert re.match(r"step 5, question q7: reward.function mine:picky raised ConnectionError: gone", str(bad))
    assert calls == {"made": 3, "retried": 0, "failed": 1}
