"""What is refused before torch is imported, and how fast help and errors come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from strive_data.common.files import output_folder
from strive_data.errors import DamagedError, UsageError
from strive_rl.common import preflight
from strive_rl.common.model_folder import write_manifest
from strive_rl.common.preflight import (
    require_adapters,
    require_device,
    require_free,
    require_model,
    require_run_folder,
)

ROOT = Path(__file__).parents[3]
# Packages that take long to import. Without them an argument error took .16 CPU seconds in 2026.
SLOW = ["torch", "transformers", "ray", "open_clip", "matplotlib", "webdataset"]


def made_model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_the_model_inside_a_folder_is_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tt").mkdir()
    with pytest.raises(UsageError, match=r"no config\.json in it\)$"):
        require_model("tt")
    made_model(Path("tt/checkpoint-000002"))
    with pytest.raises(UsageError, match=r"did you mean tt/checkpoint-000002\?"):
        require_model("tt")
    made_model(Path("tt/model"))
    with pytest.raises(UsageError, match=r"did you mean tt/model\?"):
        require_model("tt")
    with pytest.raises(UsageError, match=r"no such folder, did you mean tt/model\?"):
        require_model("tt/modle")
    require_model("tt/model")
    require_model("demo")
    require_model("Qwen/Qwen2.5-VL-7B-Instruct")
    Path("file").touch()
    with pytest.raises(UsageError, match="a file"):
        require_model("file")


def test_a_damaged_model_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made_model(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"abc")
    write_manifest(folder)
    require_model(str(folder))
    (folder / "model.safetensors").write_bytes(b"abd")
    with pytest.raises(DamagedError, match=r"model\.safetensors: damaged"):
        require_model(str(folder))


def test_a_folder_that_holds_a_run_or_none(tmp_path: Path) -> None:
    require_run_folder(tmp_path / "new", resume=False)
    with pytest.raises(UsageError, match="no run to resume"):
        require_run_folder(tmp_path / "new", resume=True)
    (tmp_path / "settings.json").touch()
    require_run_folder(tmp_path, resume=True)
    require_run_folder(tmp_path, resume=False)
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(UsageError, match="already holds a run"):
        require_run_folder(tmp_path, resume=False)


def test_a_folder_that_another_process_writes_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running run is not advised to resume; a lock file without a holder does not count."""
    for name in ("settings.json", "metrics.jsonl"):
        (tmp_path / name).touch()
    with output_folder(tmp_path), pytest.raises(UsageError, match="another process is writing there"):
        require_run_folder(tmp_path, resume=False)
    with pytest.raises(UsageError, match="already holds a run"):
        require_run_folder(tmp_path, resume=False)
    require_run_folder(tmp_path, resume=True)
    # The first process of several holds the lock itself.
    monkeypatch.setenv("RANK", "1")
    with output_folder(tmp_path):
        require_free(tmp_path)
    require_free(tmp_path / "new")


def test_cuda_devices_are_counted_by_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_cuda_devices", lambda: 2)
    for name in ("cpu", "auto", "cuda", "cuda:1", "cuda:x"):
        require_device(name)
    with pytest.raises(UsageError, match="'cuda:2', but there are 2 CUDA devices"):
        require_device("cuda:2")


def typed(*arguments: object) -> tuple[int, str]:
    """Exit code and output of a command, run where importing a slow package is an error."""
    program = f"import sys; sys.modules.update(dict.fromkeys({SLOW})); from strive_rl.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.returncode, done.stdout + done.stderr


def test_adapters_without_their_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_adapters(4)
    monkeypatch.setattr(preflight, "find_spec", lambda _name: None)
    require_adapters(0)
    with pytest.raises(UsageError, match=r"policy.lora_rank=4 needs peft.*\[lora\]"):
        require_adapters(4)


def test_help_and_wrong_arguments_come_at_once(tmp_path: Path) -> None:
    train = ["train", "--shards", tmp_path, "--out", tmp_path / "out", "--model", "demo"]
    cases = [
        (["--help"], 0, "Commands"),
        (["-h"], 0, "Commands"),
        (["--version"], 0, "."),
        (["train", "--help"], 0, "--resume-from"),
        (["nothing"], 2, "nothing"),
        (["train", "--stepz", "3"], 2, "--stepz"),
        ([*train, "--set", "optim.lrr=1"], 2, "did you mean 'lr'"),
        ([*train, "--config", "nothing"], 2, "nothing"),
    ]
    for arguments, code, text in cases:
        given, shown = typed(*arguments)
        assert (given, text in shown) == (code, True), (arguments, shown)


def test_costly_mistakes_are_refused_without_torch(tmp_path: Path) -> None:
    (tmp_path / "tt").mkdir()
    made_model(tmp_path / "tt" / "model")
    (tmp_path / "old").mkdir()
    for name in ("settings.json", "metrics.jsonl"):
        (tmp_path / "old" / name).touch()
    good = {"--shards": tmp_path, "--out": tmp_path / "out", "--model": "demo"}
    cases = [
        ({"--model": tmp_path / "tt"}, "did you mean"),
        ({"--out": tmp_path / "old"}, "already holds a run"),
        ({"--set": "policy.device=cuda:77"}, "CUDA devices"),
        ({"--set": "reward.function=no_such_module:name"}, "no_such_module"),
        ({"--set": 'log=["nothing"]'}, "nothing"),
    ]
    for changes, text in cases:
        code, shown = typed("train", *(part for pair in (good | changes).items() for part in pair))
        assert (code, shown.count("\n"), text in shown) == (2, 1, True), shown


def test_folders_are_compared_without_torch(tmp_path: Path) -> None:
    """Regression: a wrong folder was refused after 24 s on a busy machine."""
    (tmp_path / "out" / "after").mkdir(parents=True)
    (tmp_path / "out" / "after" / "results.json").write_text('{"samplers": {"uniform": null}}')
    line = {"sample_id": "1", "sampler": "uniform", "video_id": "v", "question": "Q", "options": []}
    line |= {"answer": "B", "source": "s", "problem_type": "free-form", "times": [0.5]}
    line |= {"output": "B", "extracted": "B", "accuracy": 1.0}
    (tmp_path / "out" / "after" / "predictions.jsonl").write_text(json.dumps(line) + "\n")
    good = tmp_path / "out" / "after"
    for wrong, text in ((tmp_path / "out", f"did you mean {good}"), (tmp_path / "no", "no: no results.json")):
        assert (typed("compare", good, wrong)[0], text in typed("compare", good, wrong)[1]) == (2, True)
    assert typed("compare", good, good)[0] == 0
