"""Answers to read, as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from strive_data.errors import DamagedError, UsageError
from strive_rl.common import jsonl
from strive_rl.inspect.show import show

ROW: dict[str, Any] = {
    "step": 1,
    "sample_id": "q1",
    "variant": 0,
    "place": 1,
    "times": [0.5, 12.0],
    "view": "whole",
    "question": "Which?",
    "prompt": "Which?\nA. red",
    "answer": "A",
    "completion": "<answer>B</answer>",
    "tokens": 3,
    "finished": False,
    "reward": 0.1,
    "accuracy": 0.0,
    "format": 1.0,
    "advantage": -1.0,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    right = ROW | {"variant": 1, "completion": "A it is", "finished": True, "reward": 1.0, "advantage": 1.0}
    rows = [ROW, right, ROW | {"sample_id": "q2"}, ROW | {"step": 2}]
    jsonl.append(tmp_path / "rollouts.jsonl", rows)
    return tmp_path


def test_a_step_by_question_the_best_answer_first(run: Path) -> None:
    assert show(run, step=1).splitlines() == [
        "step 1 · q1 · truth: A",
        "======================",
        "Which?",
        "A. red",
        "",
        "--- variant 1, whole · reward 1 (accuracy 0, format 1) · advantage +1",
        "    frames at 0.5, 12 s",
        "A it is",
        "",
        "--- variant 0, whole · reward 0.1 (accuracy 0, format 1) · advantage -1 · cut at the limit",
        "    frames at 0.5, 12 s",
        "<answer>B</answer>",
        "",
        "step 1 · q2 · truth: A",
        "======================",
        "Which?",
        "A. red",
        "",
        "--- variant 0, whole · reward 0.1 (accuracy 0, format 1) · advantage -1 · cut at the limit",
        "    frames at 0.5, 12 s",
        "<answer>B</answer>",
    ]


def test_an_answer_without_words_is_reported(tmp_path: Path) -> None:
    jsonl.append(tmp_path / "rollouts.jsonl", [ROW | {"completion": ""}])
    assert show(tmp_path).endswith("s\n(empty)")


def test_a_long_completion_keeps_both_ends(tmp_path: Path) -> None:
    text = "".join(f"thought {number:04d}. " for number in range(200)) + "<answer>B</answer>"
    jsonl.append(tmp_path / "rollouts.jsonl", [ROW | {"completion": text}])
    assert show(tmp_path, full=True).endswith(text)
    head, _, rest = show(tmp_path).partition("\n[… ")
    left_out, _, tail = rest.partition(" characters, --full shows them …]\n")
    assert head.endswith(text[:500])
    assert tail == text[-300:]
    assert int(left_out) == len(text) - 800


def test_the_last_step_by_default_and_a_question_at_every_step(run: Path) -> None:
    assert show(run).startswith("step 2 · q1")
    assert "step 1" not in show(run)
    both = show(run, question="q1")
    assert "step 1 · q1" in both
    assert "step 2 · q1" in both
    assert "q2" not in both


def test_what_is_not_there_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"step 9: .* from step 1 to 2"):
        show(run, step=9)
    with pytest.raises(UsageError, match="did you mean 'q1'"):
        show(run, question="q11")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no completions in rollouts\.jsonl"):
        show(tmp_path / "empty")
    with pytest.raises(UsageError, match=rf"no such folder: .*emty, did you mean {tmp_path}/empty\?"):
        show(tmp_path / "emty")


@pytest.mark.parametrize("informative", [True, False])
def test_a_question_that_was_left_out_of_the_update_is_marked(tmp_path: Path, informative: bool) -> None:
    """Its advantage, of a difference in format, was never used."""
    for step, finished in ((1, True), (2, False)):
        row = ROW | {"step": step, "informative": informative, "finished": finished}
        jsonl.append(tmp_path / "rollouts.jsonl", [row])
        head = show(tmp_path).splitlines()[0]
        reason = "left out of the update: completions that are compared have equal accuracy"
        assert head.endswith(reason + ("" if finished else " or were cut")) is not informative
        assert "informative" not in head


@pytest.mark.parametrize(
    "change", [{"times": None}, {"times": ["x"]}, {"reward": []}, {"completion": 5}, {"accuracy": 10**400}]
)
def test_a_row_that_training_did_not_write_is_one_line(tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / "rollouts.jsonl").write_text(json.dumps(ROW | change) + "\n")
    with pytest.raises(DamagedError, match=r"rollouts\.jsonl"):
        show(tmp_path)


def test_a_row_without_a_field_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "rollouts.jsonl").write_text(json.dumps({k: v for k, v in ROW.items() if k != "view"}) + "\n")
    with pytest.raises(DamagedError, match="view"):
        show(tmp_path)
