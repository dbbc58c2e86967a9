"""What is refused before torch is imported."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from signal import Signals, raise_signal

import pytest
import typer

from strive_data.common import settings
from strive_data.common.settings import require_device
from strive_data.common.signals import ENDING
from strive_data.config import ScoreSettings
from strive_data.errors import DamagedError, SettingsError, UsageError
from strive_data.score.registry import make_scorer
from strive_rl.common.model_folder import write_manifest
from strive_rl.common.preflight import locked, require_engine, require_extras, require_model
from strive_rl.common.run_settings import require_run
from strive_rl.config import EngineSettings
from strive_rl.dry_run.memory import read_shape
from tests.conftest import typed_without
from tests.strive_rl.made.shards import make_shards

# Packages that take long to import. Without them an argument error took .16 CPU seconds in 2026.
BUILTIN, VLLM = EngineSettings(), EngineSettings(engine="vllm")
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
    require_run(tmp_path / "new", resume=False)
    with pytest.raises(UsageError, match="no run to resume"):
        require_run(tmp_path / "new", resume=True)
    (tmp_path / "settings.json").touch()
    require_run(tmp_path, resume=True)
    require_run(tmp_path, resume=False)
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(UsageError, match="already holds a run"):
        require_run(tmp_path, resume=False)


def test_one_command_at_a_time_holds_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(tmp_path / "new"):
        with pytest.raises(UsageError, match="another process is writing there"), locked(tmp_path / "new"):
            pass
        # The first process of several holds the lock for all.
        monkeypatch.setenv("RANK", "1")
        with locked(tmp_path / "new"):
            pass
        monkeypatch.delenv("RANK")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_a_command_with_a_line(
    number: Signals, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, locked(tmp_path / "new", kept=lambda: "two"):
        raise_signal(number)
    assert ended.value.exit_code == 128 + number
    answered, last = capfd.readouterr().err.split("\n")[1:3]
    assert answered == f"{number.name}: stopping; again to stop now"
    assert last == f"stopped by {number.name}; two; to go on, start the same command again"
    assert not (tmp_path / "new").exists()


def test_cuda_devices_are_counted_by_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_cuda_devices", lambda: 2)
    for name in ("cpu", "auto", "cuda", "cuda:1"):
        require_device("policy.device", name)
    for name in ("cuda:2", "cuda:x"):
        with pytest.raises(SettingsError, match=f"score.device: got '{name}'.*2 devices"):
            require_device("score.device", name)
    monkeypatch.setattr(settings, "_cuda_devices", lambda: 0)
    with pytest.raises(SettingsError, match="no CUDA device"):
        make_scorer(ScoreSettings(device="cuda"))


def test_vllm_is_refused_for_a_kind_of_model_or_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_5"}')
    with pytest.raises(UsageError, match="qwen3_5, expected one of: qwen2_5_vl"):
        require_extras(VLLM, model=str(tmp_path))
    for content in ("[1]", "{"):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(UsageError, match=r"config\.json"):
            require_extras(VLLM, model=str(tmp_path))
    with pytest.raises(UsageError, match="qwen3_5_moe"):
        read_shape("Qwen/Qwen3.5-35B-A3B", VLLM)
    pair = replace(VLLM, tensor_parallel_size=2)
    require_engine(pair, "qwen3_vl", 4)
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match=r"tensor_parallel_size: got 2, expected a divisor .*, 3:"):
        require_extras(pair)


def test_extras_that_are_not_installed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extras(BUILTIN, lora_rank=4)
    monkeypatch.setattr("strive_rl.common.preflight.find_spec", lambda _name: None)
    require_extras(BUILTIN)
    with pytest.raises(UsageError, match=r"policy.lora_rank=4 needs peft.*\[lora\]"):
        require_extras(BUILTIN, lora_rank=4)
    with pytest.raises(UsageError, match=r"engine=vllm needs vllm.*\[vllm\]"):
        require_extras(VLLM)


def test_costly_mistakes_are_refused_without_torch(tmp_path: Path) -> None:
    (tmp_path / "tt").mkdir()
    made_model(tmp_path / "tt" / "model")
    (tmp_path / "old").mkdir()
    for name in ("settings.json", "metrics.jsonl"):
        (tmp_path / "old" / name).touch()
    make_shards(tmp_path / "build", samples=2)
    saved = {"settings": {}, "model": "demo", "shards_fingerprint": "0", "versions": {}}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").write_text(json.dumps(saved))
    (tmp_path / "file").touch()
    build = {"--shards": tmp_path / "build"}
    cases: list[tuple[str, dict[str, object], str]] = [
        ("train", {"--model": tmp_path / "tt"}, "did you mean"),
        ("train", {"--out": tmp_path / "old"}, "already holds a run"),
        ("train", {"--set": "policy.device=cuda:77"}, "policy.device: got 'cuda:77'"),
        ("train", {"--set": "policy.device=gpu"}, "policy.device: got 'gpu'"),
        ("train", {"--set": "reward.function=no_such_module:name"}, "no_such_module"),
        ("train", {"--set": 'log=["nothing"]'}, "nothing"),
        ("train", build | {"--set": "data.sampler=unifrom"}, "did you mean 'uniform'"),
        ("train", build | {"--heldout": tmp_path / "build"}, "trains on the same samples"),
        ("train --resume", build | {"--out": tmp_path / "run"}, "shards_fingerprint was 0"),
        ("eval", build | {"--out": tmp_path / "old"}, "holds a run of training"),
        ("eval", build | {"--baseline": tmp_path}, "expected a finished folder"),
        ("probe", build | {"--set": "policy.device=cuda:77"}, "policy.device: got 'cuda:77'"),
        (
            "study demo",
            build | {"--heldout": tmp_path / "build", "--out": tmp_path / "old"},
            "holds no study",
        ),
    ]
    good = {"--shards": tmp_path, "--out": tmp_path / "out", "--model": "demo"}
    commands = [
        [*command.split(), *(part for pair in (good | changes).items() for part in pair)]
        for command, changes, _ in cases
    ]
    commands.append(["export", tmp_path, "--out", tmp_path / "out"])
    texts = [*(text for _, _, text in cases), "no model in it"]
    for command, text, (code, shown) in zip(
        commands, texts, typed_without(SLOW, "strive_rl", commands), strict=True
    ):
        assert (code, shown.count("\n"), text in shown) == (2, 1, True), (command, shown)
    assert not (tmp_path / "out").exists()


def test_folders_are_compared_without_torch(tmp_path: Path) -> None:
    """Regression: a wrong folder was refused after 24 s on a busy machine."""
    (tmp_path / "out" / "after").mkdir(parents=True)
    (tmp_path / "out" / "after" / "results.json").write_text('{"samplers": {"uniform": null}}')
    line = {"sample_id": "1", "sampler": "uniform", "video_id": "v", "question": "Q", "options": []}
    line |= {"answer": "B", "source": "s", "problem_type": "free-form", "times": [0.5]}
    line |= {"output": "B", "extracted": "B", "accuracy": 1.0}
    (tmp_path / "out" / "after" / "predictions.jsonl").write_text(json.dumps(line) + "\n")
    good = tmp_path / "out" / "after"
    pairs = [
        *((good, b) for b in (tmp_path / "out", tmp_path / "out/aftr", good)),
        (tmp_path / "x", tmp_path / "y"),
    ]
    results = typed_without(SLOW, "strive_rl", (["compare", *pair] for pair in pairs))
    assert [code for code, _ in results] == [2, 2, 0, 2]
    assert all(f"no such folder: {tmp_path}/{name}" in results[3][1] for name in "xy")
    assert f"did you mean {good}" in results[0][1]
    assert f"no such folder: {tmp_path}/out/aftr, did you mean {good}?" in results[1][1]
