"""What is exported loads by transformers or peft alone, and says the same."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from strive_data.errors import UsageError
from strive_rl.common import jsonl
from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from strive_rl.policy.lora import adapter_weights
from strive_rl.train import checkpoint
from strive_rl.train.checkpoint import Writer, export


def failing() -> None:
    raise OSError(28, "No space left on device")


def test_in_the_foreground_a_job_is_done_at_once() -> None:
    done: list[int] = []
    with Writer(background=False) as writer:
        writer.do(lambda: done.append(1))
        assert done == [1]
        with pytest.raises(OSError, match="No space"):
            writer.do(failing)


def test_in_the_background_the_caller_goes_on_and_the_end_waits() -> None:
    may_end, done = threading.Event(), []
    with Writer(background=True) as writer:
        writer.do(lambda: done.append(may_end.wait(20)))
        assert not done
        may_end.set()
        writer.do(lambda: done.append(threading.current_thread().name.startswith("strive-checkpoint")))
    assert done == [True, True]


def test_an_error_is_raised_by_the_next_job_the_wait_or_the_end() -> None:
    with pytest.raises(OSError, match="No space"), Writer(background=True) as writer:
        writer.do(failing)
    with Writer(background=True) as writer:
        writer.do(failing)
        with pytest.raises(OSError, match="No space"):
            writer.do(lambda: None)
        writer.do(failing)
        with pytest.raises(OSError, match="No space"):
            writer.wait()
        writer.wait()


def test_another_error_is_not_hidden_by_that_of_a_job() -> None:
    def fails_twice() -> None:
        with Writer(background=True) as writer:
            writer.do(failing)
            raise KeyError("first")

    with pytest.raises(KeyError):
        fails_twice()


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


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A run with one checkpoint of perturbed adapters, and no finished model yet."""
    out = tmp_path_factory.mktemp("export") / "run"
    settings = PolicySettings(device="cpu", lora_rank=4, lora_scale=1.5)
    policy = load_policy(str(tiny_folder), settings)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, weight in policy.trainable():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    out.mkdir()
    kept = {"lora_rank": 4, "lora_scale": 1.5}
    jsonl.write_json(out / "settings.json", {"settings": {"policy": kept}, "model": str(tiny_folder)})
    state = {"step": 3, "adapters": adapter_weights(policy.model)}
    checkpoint.save(checkpoint.checkpoint_folder(out, 3), policy, state)
    return out


def test_the_model_is_plain_and_without_the_state(run: Path, tmp_path: Path) -> None:
    taken = export(run, tmp_path / "deep" / "model")
    assert taken == run / "checkpoint-000003"
    assert not list((tmp_path / "deep").rglob(checkpoint.STATE_FILE))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path / "deep" / "model")
    assert not [name for name, _ in model.named_parameters() if "lora" in name]


# peft asks the model by a name that transformers has given a new one.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_the_adapter_on_the_first_model_is_the_merged_model(
    run: Path, tiny_policy: Policy, tiny_folder: Path, tmp_path: Path
) -> None:
    export(run, tmp_path / "adapter", adapter=True)
    export(run / "checkpoint-000003", tmp_path / "model")
    base = Qwen2_5_VLForConditionalGeneration.from_pretrained(tiny_folder)
    adapted = PeftModel.from_pretrained(base, tmp_path / "adapter").merge_and_unload()
    plain = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path / "model")
    ours = dict(plain.named_parameters())
    for name, weight in adapted.named_parameters():
        torch.testing.assert_close(weight, ours[name], atol=1e-6, rtol=0)
    moved = [n for n, w in tiny_policy.model.named_parameters() if not torch.equal(w, ours[n])]
    assert len(moved) == 2 * 7


def test_a_finished_model_comes_first(run: Path, tiny_policy: Policy, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    checkpoint.save(checkpoint.checkpoint_folder(copy, 3), tiny_policy, {"adapters": {}})
    assert export(copy, tmp_path / "one") == copy / "checkpoint-000003"
    checkpoint.save(copy / "model", tiny_policy)
    assert export(copy, tmp_path / "two") == copy / "model"
    with pytest.raises(UsageError, match="trained without adapters"):
        export(copy, tmp_path / "three", adapter=True)
    with pytest.raises(UsageError, match="is there already"):
        export(copy, tmp_path / "two")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no model in it"):
        export(tmp_path / "empty", tmp_path / "four")
    with pytest.raises(UsageError, match="no checkpoint in it"):
        export(tmp_path / "empty", tmp_path / "four", adapter=True)
    assert not (tmp_path / "three").exists()
