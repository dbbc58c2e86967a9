"""Advantage, loss and reward for other trainers: importing them imports nothing of this one."""

from __future__ import annotations

import subprocess
import sys

import pytest

import strive_rl.algorithm as algorithm

USE = """
import sys, numpy as np
from strive_rl.algorithm import AlgorithmSettings, Question, advantages, has_zero_advantage, reward_of
rest = ("torch", "transformers", "webdataset", "typer", "av", "rich", "open_clip")
question = Question(sample_id="0", video="", question="?", answer="B", problem_type="multiple choice",
                    options=("A. red", "B. blue"))
rewards = np.array([[reward_of(f"<think>x</think><answer>{a}</answer>", question).total for a in row]
                    for row in ("AB", "BB")])
assert rewards.tolist() == [[0.1, 1.0], [1.0, 1.0]]
assert not has_zero_advantage(rewards)
assert advantages(rewards, AlgorithmSettings()).round(2).tolist() == [[-1.73, 0.58], [0.58, 0.58]]
assert not [name for name in rest if name in sys.modules]
from strive_rl.algorithm import policy_loss
assert not [name for name in rest if name in sys.modules and name != "torch"]
assert not [name for name in sys.modules if name.startswith(("strive_rl.train", "strive_rl.policy"))]
"""


def test_the_algorithm_imports_no_other_part() -> None:
    subprocess.run([sys.executable, "-c", USE], check=True)


def test_every_public_name_is_there() -> None:
    assert all(callable(getattr(algorithm, name)) for name in algorithm.__all__)
    assert set(algorithm.__all__) == {name for names in algorithm.MODULES.values() for name in names}
    with pytest.raises(AttributeError, match="no attribute 'adventages'"):
        algorithm.adventages  # noqa: B018
