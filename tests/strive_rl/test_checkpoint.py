"""Checkpoints: whole or absent, and loadable by transformers alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from strive_data.errors import UsageError
from strive_rl import checkpoint
from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from strive_rl.writer import Writer


def test_transformers_loads_the_folder(tiny_policy: Policy, tmp_path: Path) -> None:
    folder = checkpoint.checkpoint_folder(tmp_path, 12)
    checkpoint.save(folder, tiny_policy, {"step": 12})
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000012"]
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    for (name, ours), (other, theirs) in zip(
        tiny_policy.model.named_parameters(), model.named_parameters(), strict=True
    ):
        assert name == other
        assert torch.equal(ours, theirs)
    processor = AutoProcessor.from_pretrained(folder)
    assert processor.chat_template == tiny_policy.processor.chat_template


def test_the_newest_whole_checkpoint_is_found(tiny_policy: Policy, tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None
    for step in (9, 10):
        checkpoint.save(checkpoint.checkpoint_folder(tmp_path, step), tiny_policy, {"step": step})
    (tmp_path / "checkpoint-000011").mkdir()
    (tmp_path / ".checkpoint-000012.tmp").mkdir()
    found = checkpoint.latest(tmp_path)
    assert found == tmp_path / "checkpoint-000010"
    assert checkpoint.load_state(found) == {"step": 10}


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in range(1, 6):
        folder = checkpoint.checkpoint_folder(tmp_path, step)
        folder.mkdir()
        (folder / "model.safetensors").touch()
        torch.save({"step": step}, folder / checkpoint.STATE_FILE)
    (tmp_path / "checkpoint-000001" / checkpoint.STATE_FILE).unlink()
    for keep, left in ((0, [1, 2, 3, 4, 5]), (3, [1, 3, 4, 5]), (1, [1, 5]), (1, [1, 5])):
        checkpoint.prune(tmp_path, keep)
        assert sorted(path.name for path in tmp_path.iterdir()) == [f"checkpoint-{i:06d}" for i in left]


def test_a_snapshot_does_not_follow_the_training(tiny_folder: Path, tmp_path: Path) -> None:
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu"))
    taken = checkpoint.snapshot(policy)
    # Tied weights are one tensor, and written once.
    assert taken.weights["lm_head.weight"] is taken.weights["model.language_model.embed_tokens.weight"]
    before = {name: weight.detach().clone() for name, weight in policy.model.named_parameters()}
    with torch.no_grad():
        for _, weight in policy.trainable():
            weight.add_(1.0)
    checkpoint.write(tmp_path / "model", policy, taken)
    written = load_policy(str(tmp_path / "model"), policy.settings)
    assert all(torch.equal(weight, before[name]) for name, weight in written.model.named_parameters())
    assert "lm_head.weight" not in load_file(tmp_path / "model" / "model.safetensors")


def test_a_failed_save_leaves_the_older_one(
    tiny_policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint.checkpoint_folder(tmp_path, 1)
    checkpoint.save(folder, tiny_policy, {"step": 1})

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(folder, tiny_policy, {"step": 2})
    assert checkpoint.load_state(folder) == {"step": 1}


def test_code_in_a_state_file_is_never_run(tmp_path: Path) -> None:
    torch.save({"step": Path("anything that is no tensor")}, tmp_path / checkpoint.STATE_FILE)
    with pytest.raises(UsageError, match="cannot be read"):
        checkpoint.load_state(tmp_path)


def test_a_damaged_state_file(tmp_path: Path) -> None:
    (tmp_path / checkpoint.STATE_FILE).write_bytes(b"nothing")
    with pytest.raises(UsageError, match="cannot be read"):
        checkpoint.load_state(tmp_path)


def test_a_checkpoint_written_beside_the_training_is_whole(tiny_folder: Path, tmp_path: Path) -> None:
    """As on a GPU: the weights move while a thread writes those of the snapshot."""
    policy = load_policy(str(tiny_folder), PolicySettings(device="cpu", lora_rank=2))
    with Writer(background=True) as writer:
        for step in (1, 2, 3):
            taken = checkpoint.snapshot(policy, {"step": step})
            folder = checkpoint.checkpoint_folder(tmp_path, step)
            writer.do(partial(checkpoint.write, folder, policy, taken))
            with torch.no_grad():
                for name, weight in policy.trainable():
                    weight.add_(0.1 if "lora_B" in name else 0.0)
    first = load_policy(str(tmp_path / "checkpoint-000001"), PolicySettings(device="cpu"))
    plain = load_policy(str(tiny_folder), PolicySettings(device="cpu"))
    for (name, one), (_, other) in zip(
        first.model.named_parameters(), plain.model.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name
    newest = checkpoint.latest(tmp_path)
    assert newest
    assert checkpoint.load_state(newest) == {"step": 3}
