"""JSONL that survives a crash and a resume."""

from __future__ import annotations

from pathlib import Path

import pytest

from strive_data.errors import UsageError
from strive_rl.common import jsonl


def test_records_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    jsonl.append(path, [{"step": 1, "text": "é"}])
    jsonl.append(path, [{"step": 2}, {"step": 3}])
    assert path.read_text(encoding="utf-8") == '{"step": 1, "text": "é"}\n{"step": 2}\n{"step": 3}\n'
    assert [record["step"] for record in jsonl.read(path)] == [1, 2, 3]


def test_a_line_cut_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "rew')
    assert jsonl.read(path) == [{"step": 1}]
    assert jsonl.read(tmp_path / "absent") == []
    path.write_text('{"step": 1}\n{"step": 2, "rew\n')
    with pytest.raises(UsageError, match=r"m\.jsonl, line 2: not JSON"):
        jsonl.read(path)


def test_records_after_a_checkpoint_are_cut_back(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    jsonl.append(path, [{"step": step} for step in (1, 2, 2, 3, 4)])
    jsonl.cut_back(path, 2)
    assert [record["step"] for record in jsonl.read(path)] == [1, 2, 2]
    jsonl.cut_back(path, 0)
    assert jsonl.read(path) == []


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        jsonl.append(tmp_path / "m.jsonl", [{"x": float("nan")}])


def test_json_objects(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    jsonl.write_json(path, {"a": [1, None]})
    assert jsonl.read_json(path) == {"a": [1, None]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    path.write_text("{")
    with pytest.raises(UsageError, match="is not JSON"):
        jsonl.read_json(path)
