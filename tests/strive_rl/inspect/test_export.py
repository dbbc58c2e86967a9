"""What is exported loads by transformers or peft alone, to the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import Qwen2_5_VLForConditionalGeneration

from strive_data.errors import DamagedError, UsageError
from strive_rl.common import jsonl, run_folder
from strive_rl.common.model_folder import STATE_FILE, find_damage, has_manifest
from strive_rl.config import PolicySettings
from strive_rl.inspect.export import export
from strive_rl.policy import Policy, load_policy
from strive_rl.policy.lora import adapter_weights
from strive_rl.train import checkpoint


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
    checkpoint.write(run_folder.checkpoint_folder(out, 3), policy, checkpoint.snapshot(policy), state)
    return out


def test_the_model_is_plain_and_without_the_state(run: Path, tmp_path: Path) -> None:
    taken = export(run, tmp_path / "deep" / "model")
    assert taken == run / "checkpoint-000003"
    assert not list((tmp_path / "deep").rglob(STATE_FILE))
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]
    assert has_manifest(tmp_path / "deep" / "model")
    assert not list(find_damage(tmp_path / "deep" / "model"))
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
    checkpoint.write(
        run_folder.checkpoint_folder(copy, 3), tiny_policy, checkpoint.snapshot(tiny_policy), {"adapters": {}}
    )
    assert export(copy, tmp_path / "one") == copy / "checkpoint-000003"
    checkpoint.write(copy / "model", tiny_policy, checkpoint.snapshot(tiny_policy))
    assert export(copy, tmp_path / "two") == copy / "model"
    with pytest.raises(UsageError, match="trained without adapters"):
        export(copy, tmp_path / "three", adapter=True)
    with pytest.raises(UsageError, match="exists"):
        export(copy, tmp_path / "two")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no model in it"):
        export(tmp_path / "empty", tmp_path / "four")
    with pytest.raises(UsageError, match="no checkpoint in it"):
        export(tmp_path / "empty", tmp_path / "four", adapter=True)
    assert not (tmp_path / "three").exists()


def test_damaged_weights_are_never_exported(run: Path, tmp_path: Path) -> None:
    weights = run / "checkpoint-000003" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        with pytest.raises(DamagedError, match=r"model\.safetensors"):
            export(run, tmp_path / "model")
    finally:
        weights.write_bytes(content)
    assert list(tmp_path.iterdir()) == []
