"""Advantage, loss and reward for other trainers: importing them imports nothing of this one."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import strive_data
import strive_rl.algorithm as algorithm
from strive_data.export.layouts import export_build
from strive_rl.algorithm import loss
from tests.strive_rl.made.shards import make_shards

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


def test_the_reward_for_ms_swift_tells_answers_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own reward `accuracy` is constant on letters: the command says so, and the page has another."""
    make_shards(tmp_path / "build")
    made = export_build(tmp_path / "build", "messages", tmp_path / "out")
    assert "--reward_funcs accuracy" not in made.usage
    assert "only numeric answers" in made.note
    assert made.note in (tmp_path / "out/README.md").read_text()
    swift = ModuleType("swift.rewards")
    swift.__dict__.update(ORM=object, orms={})
    monkeypatch.setitem(sys.modules, "swift", ModuleType("swift"))
    monkeypatch.setitem(sys.modules, "swift.rewards", swift)
    page = (Path(str(strive_data.__file__)).parent / "README.md").read_text()
    (code,) = re.findall(r"```\n(  import json\n.*?orms.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec("if True:\n" + code, names)
    rows = [json.loads(line) for line in (tmp_path / "out/train.jsonl").read_text().splitlines()][:4]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    answers = [f"<think>x</think><answer>{letter}</answer>" for letter in "ABAB"]
    given = swift.__dict__["orms"]["strive"]()(answers, **columns)
    assert columns["solution"] == ["A", "A", "B", "B"]
    assert given == [1.0, 0.1, 0.1, 1.0]


def test_the_reward_for_easyr1_tells_answers_apart(tmp_path: Path) -> None:
    """It starts only with a reward, which gets the keys of its RewardInput: the command names it."""
    make_shards(tmp_path / "build")
    made = export_build(tmp_path / "build", "easyr1", tmp_path / "out")
    assert "worker.reward.reward_function=REWARD.py:compute_score" in made.usage
    page = (Path(str(strive_data.__file__)).parent / "README.md").read_text()
    (code,) = re.findall(r"```\n(  from [^`]*?REWARD_TYPE.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec("if True:\n" + code, names)
    assert names["REWARD_TYPE"] == "sequential"

    def overall(response: str, answer: str) -> float:
        given = {"response": f"<think>x</think><answer>{response}</answer>", "response_length": 3}
        scores = names["compute_score"](given | {"ground_truth": answer})
        assert scores.keys() == {"overall", "accuracy", "format"}
        return round(float(scores["overall"]), 6)

    pairs = [
        ("B", "B"),
        ("(B) red", "B"),
        ("C", "B"),
        ("3", "3"),
        ("4", "3"),
        ("a dog", "a dog"),
        ("x", "a dog"),
    ]
    assert [overall(*pair) for pair in pairs] == [1.0, 1.0, 0.1, 1.0, 0.1, 1.0, 0.1]
