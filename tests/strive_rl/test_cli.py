"""The command line as it is typed: exit codes and single lines for what cannot be."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path

import fsspec
import polars as pl
import pytest
from fsspec import AbstractFileSystem

from strive_rl.common import jsonl
from tests.strive_data.made.typed import code_of
from tests.strive_rl.made.models import save_tiny_qwen3_vl
from tests.strive_rl.made.shards import make_shards
from tests.strive_rl.train.conftest import records

SMALL = [
    *("--set", "policy.device=cpu", "--set", "data.questions_per_step=2"),
    *("--max-new-tokens", "3", "--completions", "2"),
]


@pytest.fixture
def memory() -> Iterator[AbstractFileSystem]:
    """The in-memory file system, emptied behind the test."""
    file_system = fsspec.filesystem("memory")
    yield file_system
    file_system.rm("/", recursive=True)


typed = partial(code_of, "strive_rl")


def test_train_resume_and_evaluate(
    tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_shards(tmp_path / "shards")
    common = ["--shards", tmp_path / "shards", "--out", tmp_path / "run", *SMALL]
    assert typed("train", "--model", tiny_folder, "--steps", "1", *common) == 0
    assert typed("train", "--model", tiny_folder, "--steps", "2", "--resume", *common) == 0
    shown = capfd.readouterr()
    assert "step 2/2" in shown.err
    assert f"{tmp_path / 'run' / 'model'}: the model after step 2;" in shown.out
    assert [r["step"] for r in jsonl.read(tmp_path / "run" / "metrics.jsonl")] == [1, 2]
    small = ["--set", "max_new_tokens=3", "--set", "policy.device=cpu", "--set", "bootstrap_resamples=100"]
    evaluation = ["eval", "--shards", tmp_path / "shards", "--model", tmp_path / "run" / "model", *small]
    assert typed(*evaluation, "--out", tmp_path / "one") == 0
    assert typed(*evaluation, "--out", tmp_path / "two", "--baseline", tmp_path / "one") == 0
    shown = capfd.readouterr()
    assert "uniform" in shown.out
    assert "gain, importance frames: +0.0 points" in shown.out
    printed = shown.out.splitlines()[-6:]
    assert (tmp_path / "two" / "page-importance.html").is_file()
    assert typed(*evaluation, "--out", tmp_path / "two") == 0
    again = capfd.readouterr().out.splitlines()
    assert again[0] == f"{tmp_path / 'two'}: finished already, nothing to do"
    assert again[1:] == printed
    assert typed(*evaluation, "--out", tmp_path / "one", "--baseline", tmp_path / "two") == 0
    assert "gain, uniform frames: +0.0 points" in capfd.readouterr().out
    assert typed(*evaluation, "--out", tmp_path / "one", "--seed", "1") == 2
    assert "made otherwise (settings.seed: 0, now 1)" in capfd.readouterr().err


def test_frames_of_another_side_than_the_models_are_warned_of_once(
    tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Regression: Qwen3-VL's processor resized the frames of a build for Qwen2.5-VL, and nothing said so."""
    shards, held = tmp_path / "shards", tmp_path / "held"
    make_shards(shards, samples=2)
    make_shards(held, samples=3)
    model = save_tiny_qwen3_vl(tmp_path / "model")
    short = ["--max-new-tokens", "1", "--completions", "1", "--set", "policy.device=cpu"]
    train = ["train", "--shards", shards, "--heldout", held, *short, "--steps", "1"]
    train += ["--set", "data.questions_per_step=1", "--out", tmp_path / "run", "--dry-run"]
    evaluate = ["eval", "--shards", held, *short, "--out", tmp_path / "eval", "--sampler", "uniform"]
    probe = ["probe", "--shards", held, *short, "--out", tmp_path / "rates"]
    commands = [(train, [shards, held]), (train[:-1], [shards, held]), (evaluate, [held]), (probe, [held])]
    for arguments, builds in commands:
        assert typed(*arguments, "--model", model) == 0
        (line,) = (line for line in "".join(capfd.readouterr()).splitlines() if "resized" in line)
        assert re.findall(rf"{tmp_path}/\w+", line) == [*map(str, builds)]
        assert "multiples of 28 pixels, and this model reads multiples of 32" in line
    assert typed(*train, "--model", tiny_folder) == 0
    assert "resized" not in "".join(capfd.readouterr())


def test_the_same_run_from_a_path_and_from_urls(
    tmp_path: Path, tiny_folder: Path, memory: AbstractFileSystem
) -> None:
    """The metrics of a step and one resumed do not say where the shards lie or how they are fetched."""
    folder = tmp_path / "shards"
    make_shards(folder)
    memory.put(str(folder), "/cli/shards", recursive=True)
    cached = ["--set", f"data.cache={tmp_path / 'cache'}", "--set", "data.prefetch=0"]
    runs = {"path": (folder, []), "file": (f"file://{folder}", []), "url": ("memory://cli/shards", cached)}
    for name, (shards, extra) in runs.items():
        common = ["train", "--model", tiny_folder, "--shards", shards, "--out", tmp_path / name, *SMALL]
        assert typed(*common, "--steps", "1") == 0
        assert typed(*common, "--steps", "2", "--resume", *extra) == 0
    path, file, url = (records(tmp_path / name) for name in runs)
    assert [record["step"] for record in path] == [1, 2]
    assert path == file == url
    assert len(list((tmp_path / "cache").rglob("*.tar"))) == 2


def test_several_builds_are_one(tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        make_shards(tmp_path / name, samples=2, answers=name.upper())
    both = ["--shards", tmp_path / "a", "--shards", f"file://{tmp_path / 'b'}"]
    common = ["train", "--model", tiny_folder, "--steps", "1", "--out", tmp_path / "run", *SMALL]
    assert typed(*common, *both, "--set", "data.questions_per_step=4") == 0
    assert records(tmp_path / "run")[0]["questions"] == 4
    settings = jsonl.read_json(tmp_path / "run" / "settings.json")
    assert settings["shards"] == f"{tmp_path / 'a'}, {tmp_path / 'b'}"
    capfd.readouterr()
    assert typed(*common, *both, *both, "--out", tmp_path / "other") == 2
    assert "another --shards has the same samples" in capfd.readouterr().err


def test_a_broken_shard_stops_a_run_or_is_skipped_and_counted(
    tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_shards(tmp_path / "shards")
    (tmp_path / "shards" / "shard-000001.tar").unlink()
    common = ["train", "--model", tiny_folder, "--shards", tmp_path / "shards", "--steps", "1", *SMALL]
    common += ["--set", "data.questions_per_step=6"]
    assert typed(*common, "--out", tmp_path / "one") == 2
    shown = capfd.readouterr().err.splitlines()
    assert shown[-1].startswith(f"error: cannot read {tmp_path}/shards/shard-000001.tar: no such file; ")
    assert "data.broken=skip" in shown[-1]
    assert typed(*common, "--out", tmp_path / "two", "--set", "data.broken=skip") == 0
    record = records(tmp_path / "two")[0]
    assert record["questions"] == 4
    assert sorted(each["sample_id"] for each in record["broken"]) == ["q4", "q5"]
    (tmp_path / "shards" / "shard-000000.tar").unlink()
    assert typed(*common, "--out", tmp_path / "three", "--set", "data.broken=skip") == 2
    assert "none of 6 questions can be used; the first is cannot read" in capfd.readouterr().err


def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_shards(tmp_path / "shards", samples=2)
    (tmp_path / "empty").mkdir()
    good = {"--shards": tmp_path / "shards", "--model": tiny_folder, "--out": tmp_path / "out"}
    cases = [
        ("train", {"--shards": tmp_path / "absent"}, "no such folder"),
        ("train", {"--shards": tmp_path / "empty"}, "has no run.json"),
        ("train", {"--shards": "pipe:touch x"}, "runs a command"),
        ("train", {"--shards": "s4://bucket/x"}, "scheme 's4' is not among"),
        ("eval", {"--shards": "memory://absent"}, "no such folder: memory://absent"),
        ("train", {"--model": tmp_path / "empty"}, "not a model folder"),
        ("train", {"--model": tmp_path / "absent"}, "no such folder"),
        ("train", {"--set": "optim.lrr=1"}, "did you mean 'lr'"),
        ("train", {"--steps": "0"}, "steps: got 0"),
        ("train", {"--config": tmp_path / "absent.toml"}, "absent.toml"),
        ("train", {"--set": "policy.groups_per_pass=0"}, "policy.groups_per_pass: got 0"),
        ("train", {"--seed": "-1"}, "seed: got -1"),
        ("train", {"--set": "data.window=-1"}, "data.window: got -1, expected at least 0"),
        ("train", {"--set": "data.broken=ignore"}, "expected one of stop, skip"),
        ("train", {"--set": "max_new_tokens=4"}, "'max_new_tokens', did you mean 'rollout.max_new_tokens'?"),
        ("eval", {"--set": "rollout.max_new_tokens=4"}, "'rollout.max_new_tokens', did you mean 'max_new_"),
        ("eval", {"--set": "answers=2"}, "setting 'answers' is renamed: use completions"),
        ("eval", {"--answers": "2"}, "--answers is --completions now"),
        ("eval", {"--set": "decode.candidates=8"}, "setting 'decode' is one of eval --benchmark"),
        ("eval", {"--shards": tmp_path / "empty"}, "has no run.json"),
        ("eval", {"--model": tmp_path / "empty"}, "not a model folder"),
        ("eval", {"--baseline": tmp_path / "empty"}, "expected a finished folder"),
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
    for command, section, says in (
        ("eval", "sections", "--benchmark alone, or with another default there:\ntop      How a model is"),
        ("probe", "top", "  completions = 4   (whole number)"),
        ("score", "top", "  missing = wrong   (wrong, exclude)"),
        ("compare", "top", "  convention = none   (text, or none)"),
    ):
        assert typed(command, "--help-settings", section) == 0
        assert says in capfd.readouterr().out


def test_score_and_compare_need_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"sample_id": str(i), "question": "Q?", "answer": "B", "video": f"{i}.mp4", "output": output}
        | {"options": ["A. x", "B. y"], "problem_type": "multiple choice"}
        for i, output in enumerate("BBA")
    ]
    for name, kept in (("a", rows[:1] + rows[2:]), ("b", rows[:2])):
        jsonl.append(tmp_path / f"{name}.jsonl", kept)
        file, out = tmp_path / f"{name}.jsonl", tmp_path / name
        assert typed("score", file, "--benchmark", "own", "--out", out) == 0
        assert "accuracy" in capsys.readouterr().out
    assert typed("compare", tmp_path / "a", tmp_path / "b") == 2
    assert "1 are in A only (2); 1 are in B only (1)" in capsys.readouterr().err
    assert typed("compare", tmp_path / "a", tmp_path / "b", "--common") == 0
    assert "sign test over questions" in capsys.readouterr().out


def test_a_run_is_seen(tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Logged to TensorBoard, drawn, read; and a dry run of the same command, which starts nothing."""
    pytest.importorskip("tensorboard")
    make_shards(tmp_path / "shards")
    run = tmp_path / "run"
    common = ["train", "--model", tiny_folder, "--shards", tmp_path / "shards", "--out", run, *SMALL]
    assert typed(*common, "--steps", "1", "--dry-run", "--nproc", "2") == 0
    planned = capfd.readouterr().out
    assert "memory of each of 2 processes" in planned
    assert "(3 each)" in planned
    assert typed(*common, "--dry-run", "--heldout", tmp_path / "shards") == 2
    assert "the run trains on the same samples" in capfd.readouterr().err
    make_shards(tmp_path / "held", samples=4)
    for name in ("held", "shards"):
        pl.DataFrame({"video_id": ["v0", "v1"]}).write_parquet(tmp_path / name / "samples.parquet")
    assert typed(*common, "--dry-run", "--heldout", tmp_path / "held") == 0
    assert "warning: 2 of 2 held-out videos are trained on" in capfd.readouterr().err
    assert not run.exists()
    assert typed(*common, "--steps", "1", "--set", 'log=["tensorboard"]') == 0
    assert len(list((run / "tensorboard").iterdir())) == 1
    table = files("strive_rl").joinpath("train/METRICS.md").read_text(encoding="utf-8")
    documented = {name.split(".")[0] for name in re.findall(r"^\| `(.+?)` \|", table, flags=re.MULTILINE)}
    absent = {"heldout", "reward_calls", "router"}
    assert set(jsonl.read(run / "metrics.jsonl")[0]) == documented - absent
    assert typed(*common, "--steps", "2", "--resume") == 0
    for name in ("curves.png", "curves.html"):
        assert typed("plot", run, "--out", tmp_path / name) == 0
        assert (tmp_path / name).stat().st_size > 1000
    capfd.readouterr()
    assert typed("show", run) == 0
    shown = capfd.readouterr().out
    assert shown.startswith("step 2 · q")
    assert "--- variant 0, whole · reward" in shown
    assert typed("show", run, "--step", "3") == 2
    assert "there are some from step 1 to 2" in capfd.readouterr().err


def test_export_as_typed(tmp_path: Path, tiny_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_shards(tmp_path / "shards")
    common = ["--shards", tmp_path / "shards", "--model", tiny_folder, "--out", tmp_path / "run", *SMALL]
    assert typed("train", "--steps", "3", "--keep", "1", "--set", "save_every=1", *common) == 0
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-000003"]
    assert typed("export", tmp_path / "run", "--out", tmp_path / "plain") == 0
    assert f"{tmp_path / 'plain'}: the model of {tmp_path / 'run' / 'model'}" in capfd.readouterr().out
    assert (tmp_path / "plain" / "model.safetensors").is_file()
    assert typed("export", tmp_path / "run", "--out", tmp_path / "adapter", "--adapter") == 2
    assert "trained without adapters" in capfd.readouterr().err


def test_the_package_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "strive_rl", "--help"], capture_output=True, text=True, check=True, timeout=120
    )
    assert "Usage: " in done.stdout
    assert "train" in done.stdout
    assert done.stderr == ""


def test_checks_of_arguments_load_no_library_of_tables_or_tensors() -> None:
    """An error of an argument would take a second instead of a third."""
    modules = "import sys, strive_rl.cli, strive_rl.common.preflight"
    code = f"{modules}; sys.exit(bool({{'numpy', 'polars', 'torch'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
