"""Advantage, loss and reward for other trainers: importing them imports nothing of this one."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import strive_rl.algorithm as algorithm
from strive_rl.algorithm import loss

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
assert not [name for name in sys.modules if name.startswith(("strive_rl.train", "strive_rl.policy"))]
"""


def test_the_algorithm_imports_no_other_part() -> None:
    subprocess.run([sys.executable, "-c", USE], check=True)


def test_the_loss_needs_torch_alone() -> None:
    """Read from its source, since importing torch takes seconds: tests/test_imports.py has the rest."""
    tree = ast.parse(Path(str(loss.__file__)).read_text())
    froms = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    packages = {module.split(".")[0] for module in froms} - sys.stdlib_module_names
    assert packages == {"torch", "strive_rl"}
    assert [module for module in froms if module.startswith("strive_rl")] == ["strive_rl.config"]


def test_every_public_name_is_there() -> None:
    assert all(callable(getattr(algorithm, name)) for name in algorithm.__all__)
    assert set(algorithm.__all__) == {name for names in algorithm.MODULES.values() for name in names}
    with pytest.raises(AttributeError, match="no attribute 'adventages'"):
        algorithm.adventages  # noqa: B018
