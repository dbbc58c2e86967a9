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


def test_cutting_back_needs_no_room_and_drops_a_line_cut_by_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    jsonl.append(path, [{"step": step} for step in (1, 2)])
    with path.open("a") as file:
        file.write('{"step": 3')
    inode = path.stat().st_ino
    jsonl.cut_back(path, 5)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert path.stat().st_ino == inode
    jsonl.cut_back(tmp_path / "absent", 5)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("pad", [0, 10, 100_000])
def test_a_step_is_found_without_reading_the_file(
    tmp_path: Path, pad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of very different lengths, several of a step, some steps absent; a line cut by a crash behind."""
    path = tmp_path / "rollouts.jsonl"
    steps = [step for step in range(1, 400) if step % 7 for _ in range(step % 3 + 1)]
    rows = [{"step": step, "text": "x" * (pad if step % 50 == 1 else step % 13)} for step in steps]
    jsonl.append(path, rows)
    with path.open("a") as file:
        file.write('{"step": 400, "te')
    for step in (1, 2, 51, 101, 350, 351, 398, 399):
        assert jsonl.of_step(path, step) == [row for row in rows if row["step"] == step]
    assert jsonl.of_step(path) == [row for row in rows if row["step"] == 398]
    assert jsonl.first_and_last_step(path) == (1, 398)
    parsed = []
    loads = jsonl.json.loads
    monkeypatch.setattr(jsonl.json, "loads", lambda line: parsed.append(1) or loads(line))
    jsonl.of_step(path)
    assert len(parsed) < 40
    path.write_text("")
    assert jsonl.of_step(path) == []
    assert jsonl.first_and_last_step(path) is None


@pytest.mark.parametrize("line", ["[1]", "3", '{"steps": 1}', "{", "[" * 100_000, "\xff"])
def test_a_line_that_no_run_writes_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(UsageError, match=r"metrics\.jsonl, line 2") as caught:
        jsonl.read(path, ["step"])
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"metrics\.jsonl"):
        jsonl.cut_back(path, 0)


def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        jsonl.append(tmp_path / "m.jsonl", [{"x": float("nan")}])


def test_json_objects(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    jsonl.write_json(path, {"a": [1, None]})
    assert jsonl.read_json(path) == {"a": [1, None]}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    path.write_text("{")
    with pytest.raises(UsageError, match=r"a\.json: not JSON"):
        jsonl.read_json(path)
    path.write_text("[1]")
    with pytest.raises(UsageError, match=r"a\.json: a list, expected a JSON object"):
        jsonl.read_json(path)
    path.write_text("{}")
    with pytest.raises(UsageError, match="no settings"):
        jsonl.read_json(path, ["settings"])
    with pytest.raises(UsageError, match=r"absent\.json cannot be read"):
        jsonl.read_json(tmp_path / "absent.json")
