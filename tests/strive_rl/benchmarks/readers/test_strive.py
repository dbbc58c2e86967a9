from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from strive_data.errors import UsageError
from strive_rl.benchmarks.custom import CUSTOM
from strive_rl.benchmarks.readers.prediction import Records
from strive_rl.benchmarks.readers.strive import fits, read

FULL = {
    "sample_id": "q1",
    "sampler": "uniform",
    "output": "B",
    "question": "What?",
    "options": ["A. x", "B. y"],
    "answer": "B",
    "problem_type": "multiple choice",
    "video": "v.mp4",
    "tags": {"source": "mine"},
    "times": [0.5, 1.5],
}


def records(*rows: dict[str, Any]) -> Records:
    return Records(path=Path("p.jsonl"), rows=tuple((f"line {i}", row) for i, row in enumerate(rows)))


def test_a_whole_line_holds_its_question_tags_and_frames() -> None:
    file = read(records(FULL), CUSTOM)
    one = file.predictions[0]
    assert one.item is not None
    assert (one.ids, one.output, one.item.question.answer, one.item.tags) == (
        ("q1",),
        "B",
        "B",
        {"source": "mine"},
    )
    assert one.frames == {"sampler": "uniform", "times": [0.5, 1.5]}


def test_a_bare_line_is_read_and_a_line_without_output_is_bad() -> None:
    file = read(records({"sample_id": 3, "output": "x"}, {"sample_id": "4"}), CUSTOM)
    assert (file.predictions[0].ids, file.predictions[0].item) == (("3",), None)
    assert file.bad == ("line 1: sample_id or output is missing",)
    assert fits(records(FULL))
    assert not fits(records({"output": "x"}))


def test_one_of_several_samplers_must_be_chosen() -> None:
    both = records(FULL, FULL | {"sampler": "peaks", "output": "A"})
    with pytest.raises(UsageError, match=r"choose --sampler peaks \| uniform"):
        read(both, CUSTOM)
    assert [p.output for p in read(both, CUSTOM, "peaks").predictions] == ["A"]
    with pytest.raises(UsageError, match="it holds peaks, uniform"):
        read(both, CUSTOM, "topk")
