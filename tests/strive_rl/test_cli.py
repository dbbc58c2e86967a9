"""The command line as it is typed: exit codes and single lines for what cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from strive_rl import cli, journal
from tests.strive_rl.made_shards import make_shards

SMALL = [
    *("--set", "policy.device=cpu", "--set", "data.questions_per_step=2"),
    *("--set", "rollout.max_new_tokens=3", "--completions", "2"),
]


def typed(*arguments: str | Path) -> int:
    """Run the command line; its exit code."""
    before = sys.argv
    sys.argv = ["strive-rl", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as caught:
            cli.main()
    finally:
        sys.argv = before
    return int(caught.value.code or 0)


def test_train_resume_and_evaluate(
    tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_shards(tmp_path / "shards")
    common = ["--shards", tmp_path / "shards", "--out", tmp_path / "run", *SMALL]
    assert typed("train", "--model", tiny_folder, "--steps", "1", *common) == 0
    assert typed("train", "--model", tiny_folder, "--steps", "2", "--resume", *common) == 0
    shown = capfd.readouterr()
    assert "step 2/2" in shown.err
    assert f"{tmp_path / 'run' / 'model'}: the model after 2 steps" in shown.out
    assert [r["step"] for r in journal.read(tmp_path / "run" / "metrics.jsonl")] == [1, 2]
    small = ["--set", "max_new_tokens=3", "--set", "policy.device=cpu", "--set", "bootstrap_resamples=100"]
    evaluation = ["eval", "--shards", tmp_path / "shards", "--model", tmp_path / "run" / "model", *small]
    assert typed(*evaluation, "--out", tmp_path / "one") == 0
    assert typed(*evaluation, "--out", tmp_path / "two", "--baseline", tmp_path / "one") == 0
    shown = capfd.readouterr()
    assert "uniform" in shown.out
    assert "gain, importance frames: +0.0 points" in shown.out


def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_shards(tmp_path / "shards", samples=2)
    (tmp_path / "empty").mkdir()
    good = {"--shards": tmp_path / "shards", "--model": tiny_folder, "--out": tmp_path / "out"}
    cases = [
        ("train", {"--shards": tmp_path / "absent"}, "no such folder"),
        ("train", {"--shards": tmp_path / "empty"}, "has no run.json"),
        ("train", {"--model": tmp_path / "empty"}, "not a model folder"),
        ("train", {"--model": tmp_path / "absent"}, "no such folder"),
        ("train", {"--set": "optim.lrr=1"}, "did you mean 'lr'"),
        ("train", {"--steps": "0"}, "steps: got 0"),
        ("train", {"--config": tmp_path / "absent.toml"}, "absent.toml"),
        ("train", {"--set": "policy.groups_per_pass=0"}, "policy.groups_per_pass: got 0"),
        ("train", {"--seed": "-1"}, "seed: got -1"),
        ("eval", {"--shards": tmp_path / "empty"}, "has no run.json"),
        ("eval", {"--model": tmp_path / "empty"}, "not a model folder"),
        ("eval", {"--baseline": tmp_path / "empty"}, "no finished evaluation"),
    ]
    for command, changes, message in cases:
        arguments = [part for pair in (good | changes).items() for part in pair]
        assert typed(command, *arguments) == 2, (command, changes)
        shown = capfd.readouterr()
        lines = [line for line in shown.err.splitlines() if line]
        assert len(lines) == 1, shown.err
        assert message in lines[0], lines
        assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    for command in ("train", "eval"):
        arguments = [part for pair in (good | {"--out": tmp_path / "file"}).items() for part in pair]
        assert typed(command, *arguments) == 2
        assert "is a file, expected a folder" in capfd.readouterr().err


def test_help_states_defaults(capfd: pytest.CaptureFixture[str]) -> None:
    assert typed("train", "--help") == 0
    shown = capfd.readouterr().out
    for text in ("--shards", "--resume", "default 1000.", "default 2.", "default 4."):
        assert text in shown
