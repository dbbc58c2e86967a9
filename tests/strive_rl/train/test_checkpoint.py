"""Checkpoints: whole or absent, checked before they are read, and nothing but checkpoints is ever removed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from strive_data.common.files import DiskFullError
from strive_data.errors import DamagedError, UsageError
from strive_rl.common import jsonl, run_folder
from strive_rl.common.model_folder import MANIFEST_FILE, STATE_FILE, find_damage, load_state, require_intact
from strive_rl.common.run_folder import checkpoint_folder
from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from strive_rl.train import checkpoint
from strive_rl.train.checkpoint import AsyncSaver
from tests.strive_rl.made.models import TINY_MODELS


def saved(out: Path, policy: Policy, step: int, **state: object) -> Path:
    """The checkpoint of a step."""
    folder = checkpoint_folder(out, step)
    checkpoint.write(folder, policy, checkpoint.snapshot(policy), {"step": step} | state)
    return folder


def failing() -> None:
    raise OSError(28, "No space left on device")


def test_in_the_foreground_a_job_is_done_at_once() -> None:
    done: list[int] = []
    with AsyncSaver(background=False) as saver:
        saver.submit(lambda: done.append(1))
        assert done == [1]
        with pytest.raises(OSError, match="No space"):
            saver.submit(failing)


def test_in_the_background_the_caller_goes_on_and_the_end_waits() -> None:
    may_end, done = threading.Event(), []
    with AsyncSaver(background=True) as saver:
        saver.submit(lambda: done.append(may_end.wait(20)))
        assert not done
        may_end.set()
        saver.submit(lambda: done.append(threading.current_thread().name.startswith("strive-checkpoint")))
    assert done == [True, True]


def test_an_error_is_raised_by_the_next_job_the_wait_or_the_end_and_hides_no_other() -> None:
    with pytest.raises(OSError, match="No space"), AsyncSaver(background=True) as saver:
        saver.submit(failing)
    with AsyncSaver(background=True) as saver:
        saver.submit(failing)
        with pytest.raises(OSError, match="No space"):
            saver.submit(lambda: None)
        saver.submit(failing)
        with pytest.raises(OSError, match="No space"):
            saver.wait()
        saver.wait()

    def fails_twice() -> None:
        with AsyncSaver(background=True) as saver:
            saver.submit(failing)
            raise KeyError("first")

    with pytest.raises(KeyError):
        fails_twice()


@pytest.mark.parametrize("architecture", sorted(TINY_MODELS))
def test_transformers_loads_the_folder_and_so_does_an_older_version(
    architecture: str, tmp_path: Path
) -> None:
    source = TINY_MODELS[architecture](tmp_path / "source")
    policy = load_policy(str(source), PolicySettings(device="cpu"))
    folder = saved(tmp_path / "run", policy, 12)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint-000012"]
    require_intact(folder)
    again = load_policy(str(folder), PolicySettings(device="cpu"))
    for (name, ours), (other, theirs) in zip(
        policy.model.named_parameters(), again.model.named_parameters(), strict=True
    ):
        assert name == other
        assert torch.equal(ours, theirs)
    rope = [each.model.config.text_config.rope_parameters for each in (policy, again)]
    assert rope[0] == rope[1]
    processor = AutoProcessor.from_pretrained(folder)
    assert processor.chat_template == policy.processor.chat_template
    # What transformers 4.57 reads.
    config = jsonl.read_json(folder / "config.json")
    text = config["text_config"]
    assert text["rope_scaling"] == text["rope_parameters"]
    assert text["rope_theta"] == text["rope_parameters"]["rope_theta"]
    assert text["tie_word_embeddings"] is config["tie_word_embeddings"] is True
    assert config["torch_dtype"] == config["dtype"]
    tokenizer = jsonl.read_json(folder / "tokenizer_config.json")
    # Version 4.57 knows no Qwen3.5, nor its tokenizer; 5.17 writes no name of its own for it.
    named = {"PreTrainedTokenizerFast"} | (
        {"Qwen3_5Tokenizer"} if architecture.startswith("qwen3_5") else set()
    )
    assert tokenizer["tokenizer_class"] in named
    assert tokenizer["extra_special_tokens"]["video_token"] == "<|video_pad|>"
    for part, name in (("image", "preprocessor_config.json"), ("video", "video_preprocessor_config.json")):
        processors = jsonl.read_json(folder / "processor_config.json")
        assert jsonl.read_json(folder / name) == processors[f"{part}_processor"]


def test_only_checkpoints_count_and_the_highest_number_is_the_newest(
    tiny_policy: Policy, tmp_path: Path
) -> None:
    assert run_folder.latest(tmp_path) is None
    for step in (9, 10):
        saved(tmp_path, tiny_policy, step)
    (tmp_path / "checkpoint-000011").mkdir()
    for name in ("checkpoint-best", "checkpoint-000012-backup", "checkpoint-9.old", ".checkpoint-000012.tmp"):
        shutil.copytree(tmp_path / "checkpoint-000009", tmp_path / name)
    found = run_folder.latest(tmp_path)
    assert found == tmp_path / "checkpoint-000010"
    assert load_state(found) == {"step": 10}
    shutil.copytree(found, tmp_path / "checkpoint-1000000")
    assert run_folder.latest(tmp_path) == tmp_path / "checkpoint-1000000"


def made(out: Path, *steps: int) -> None:
    """Folders that look like checkpoints."""
    for step in steps:
        folder = checkpoint_folder(out, step)
        folder.mkdir(parents=True)
        (folder / "model.safetensors").touch()
        torch.save({"step": step}, folder / STATE_FILE)


def test_only_the_newest_checkpoints_are_kept_and_no_other_folder_is_touched(tmp_path: Path) -> None:
    made(tmp_path, 1, 2, 3, 999_999, 1_000_000)
    (tmp_path / "checkpoint-000001" / STATE_FILE).unlink()
    others = {"checkpoint-000006-backup", "checkpoint-best", "checkpoint-000001"}
    for name in others - {"checkpoint-000001"}:
        shutil.copytree(tmp_path / "checkpoint-000002", tmp_path / name)
    for keep, left in ((0, [2, 3, 999_999, 1_000_000]), (2, [999_999, 1_000_000]), (1, [1_000_000])):
        run_folder.prune(tmp_path, keep)
        names = {f"checkpoint-{step:06d}" for step in left}
        assert {path.name for path in tmp_path.iterdir()} == names | others


def test_what_a_kill_left_is_removed_and_a_replaced_folder_comes_back(tmp_path: Path) -> None:
    made(tmp_path, 1, 2)
    (tmp_path / "checkpoint-000001").rename(tmp_path / ".checkpoint-000001.tmp")
    (tmp_path / "checkpoint-000002").rename(tmp_path / ".checkpoint-000002.old")
    made(tmp_path, 3)
    shutil.copytree(tmp_path / "checkpoint-000003", tmp_path / ".checkpoint-000003.old")
    for name in (".cache", ".mine.tmp", ".checkpoint-best.tmp"):
        (tmp_path / name).mkdir()
    run_folder.clean(tmp_path)
    kept = {"checkpoint-000002", "checkpoint-000003", ".cache", ".mine.tmp", ".checkpoint-best.tmp"}
    assert {path.name for path in tmp_path.iterdir()} == kept


KILLED_WHILE_PRUNING = """
import os, shutil, signal, sys
from pathlib import Path
from strive_rl.common import run_folder
removing = os.unlink
def killed(*given, **more):
    removing(*given, **more)
    os.kill(os.getpid(), signal.SIGKILL)
os.unlink = killed
run_folder.prune(Path(sys.argv[1]), 1)
"""


@pytest.mark.slow
def test_a_kill_while_pruning_leaves_nothing_for_good(tmp_path: Path) -> None:
    made(tmp_path, 1, 2)
    command = [sys.executable, "-c", KILLED_WHILE_PRUNING, str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], env=os.environ | {"PYTHONPATH": "."})
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "checkpoint-000001").exists()
    run_folder.clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000002"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("harm", [flip, cut, zero, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", STATE_FILE, "config.json", MANIFEST_FILE])
def test_damage_is_refused_by_name_and_the_newest_intact_checkpoint_is_offered(
    tiny_policy: Policy, tmp_path: Path, harm: object, name: str
) -> None:
    for step in (1, 2, 3):
        saved(tmp_path, tiny_policy, step)
    newest = checkpoint_folder(tmp_path, 3)
    harm(newest / name)  # type: ignore[operator]
    cut(checkpoint_folder(tmp_path, 2) / "tokenizer.json")
    with pytest.raises(DamagedError) as caught:
        run_folder.choose(tmp_path)
    assert str(newest / name) in str(caught.value)
    assert str(caught.value).endswith("--resume-from checkpoint-000001")
    for wanted in (Path("checkpoint-000001"), tmp_path / "checkpoint-000001"):
        assert run_folder.choose(tmp_path, wanted) == checkpoint_folder(tmp_path, 1)
    with pytest.raises(UsageError, match="checkpoint-000001, checkpoint-000002, checkpoint-000003"):
        run_folder.choose(tmp_path, Path("checkpoint-000004"))
    cut(checkpoint_folder(tmp_path, 1) / "tokenizer.json")
    with pytest.raises(DamagedError, match="no checkpoint of the run is intact"):
        run_folder.choose(tmp_path)


def test_a_snapshot_does_not_follow_the_training(tiny_folder: Path, tmp_path: Path) -> None:
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu"))
    taken = checkpoint.snapshot(policy)
    # Tied weights are one tensor, and written once.
    assert taken["lm_head.weight"] is taken["model.language_model.embed_tokens.weight"]
    before = {name: weight.detach().clone() for name, weight in policy.model.named_parameters()}
    with torch.no_grad():
        for _, weight in policy.trainable():
            weight.add_(1.0)
    checkpoint.write(tmp_path / "model", policy, taken)
    written = load_policy(str(tmp_path / "model"), policy.settings)
    assert all(torch.equal(weight, before[name]) for name, weight in written.model.named_parameters())
    assert "lm_head.weight" not in load_file(tmp_path / "model" / "model.safetensors")


@pytest.fixture
def small_disk(tmp_path: Path, tiny_policy: Policy) -> Iterator[Path]:
    """A file system with room for one checkpoint and half of another."""
    size = sum(path.stat().st_size for path in saved(tmp_path / "once", tiny_policy, 0).iterdir())
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size * 3 // 2}", "strive-test", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("in_state", [False, True], ids=["weights", "state"])
def test_a_full_disk_is_one_line_and_leaves_the_older_checkpoint_alone(
    tiny_policy: Policy, small_disk: Path, in_state: bool
) -> None:
    saved(small_disk, tiny_policy, 1)
    with pytest.raises(DiskFullError) as caught:
        saved(small_disk, tiny_policy, 2, moments=torch.ones(1 << 22 if in_state else 1))
    assert "\n" not in str(caught.value)
    assert "checkpoint-000001 stays" in str(caught.value)
    assert [path.name for path in small_disk.iterdir()] == ["checkpoint-000001"]
    assert not list(find_damage(small_disk / "checkpoint-000001"))


def test_a_failed_save_leaves_the_older_one(
    tiny_policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path, tiny_policy, 1)

    def broken_disk(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(torch, "save", broken_disk)
    with pytest.raises(OSError, match="Input/output"):
        saved(tmp_path, tiny_policy, 1, again=True)
    assert load_state(folder) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000001"]


@pytest.mark.parametrize("content", [b"nothing", None], ids=["no state", "code"])
def test_a_state_file_that_is_none_is_one_line_and_its_code_is_never_run(
    tmp_path: Path, content: bytes | None
) -> None:
    if content is None:
        torch.save({"step": Path("anything that is no tensor")}, tmp_path / STATE_FILE)
    else:
        (tmp_path / STATE_FILE).write_bytes(content)
    with pytest.raises(UsageError, match=r"trainer\.pt cannot be read") as caught:
        load_state(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_written_beside_the_training_is_whole(tiny_folder: Path, tmp_path: Path) -> None:
    """As on a GPU: the weights move while a thread writes those of the snapshot."""
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu", lora_rank=2))
    with AsyncSaver(background=True) as saver:
        for step in (1, 2, 3):
            folder, taken = checkpoint_folder(tmp_path, step), checkpoint.snapshot(policy)
            saver.submit(partial(checkpoint.write, folder, policy, taken, {"step": step}))
            with torch.no_grad():
                for name, weight in policy.trainable():
                    weight.add_(0.1 if "lora_B" in name else 0.0)
    first = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path / "checkpoint-000001")
    plain = load_policy(str(tiny_folder), PolicySettings(device="cpu"))
    for (name, one), (_, other) in zip(first.named_parameters(), plain.model.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    newest = run_folder.latest(tmp_path)
    assert newest
    assert load_state(newest) == {"step": 3}
