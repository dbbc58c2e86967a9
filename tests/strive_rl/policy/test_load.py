"""Loading: what is frozen, what is never sampled, and how bad names are reported."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from strive_data.errors import SettingsError, UsageError
from strive_rl.common import distributed
from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from strive_rl.policy.encode import encode
from strive_rl.policy.load import choose_device, choose_dtype, resized_frames, token_side
from strive_rl.schema import View
from tests.strive_rl.made.groups import make_group

CPU = PolicySettings(device="cpu")


@pytest.mark.parametrize("train_vision", [False, True])
def test_the_vision_tower_is_frozen_unless_it_is_trained(any_folder: Path, train_vision: bool) -> None:
    policy = load_policy(str(any_folder), PolicySettings(device="cpu", train_vision=train_vision))
    names = [name for name, _ in policy.trainable()]
    assert names == [name for name, p in policy.model.named_parameters() if p.requires_grad]
    assert any(".layers.0." in name for name in names)
    assert any(".visual." in name for name in names) == train_vision


@pytest.mark.parametrize(("lora_rank", "dtype"), [(0, "float32"), (2, "float32"), (2, "bfloat16")])
def test_of_several_processes_only_the_first_reads_weights(
    any_folder: Path, lora_rank: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PolicySettings(device="cpu", lora_rank=lora_rank, dtype=dtype)
    whole = load_policy(str(any_folder), settings)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "is_first", lambda: False)

    other = load_policy(str(any_folder), settings, to_shard=True)

    shapes, of_whole = (
        {name: (each.shape, each.dtype, each.requires_grad) for name, each in one.model.named_parameters()}
        for one in (other, whole)
    )
    assert shapes == of_whole
    assert {each.device.type for each in other.model.parameters()} == {"meta"}
    assert other.end_ids == whole.end_ids
    assert torch.equal(other.suppressed, whole.suppressed)
    # Evaluations answer with a whole model in each process.
    assert {each.device.type for each in load_policy(str(any_folder), settings).model.parameters()} == {"cpu"}


def test_vision_ids_and_ids_beyond_the_tokenizer_are_suppressed(any_policy: Policy) -> None:
    tokens = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    ids = any_policy.tokenizer.convert_tokens_to_ids(tokens)
    size = len(any_policy.tokenizer)
    expected = sorted([*ids, *range(size, size + 5)])
    assert any_policy.suppressed.nonzero()[:, 0].tolist() == expected


def test_the_end_token_ends_an_answer(any_policy: Policy) -> None:
    assert any_policy.end_ids == (any_policy.tokenizer.eos_token_id,)


def test_the_demo_model_loads() -> None:
    policy = load_policy("demo", CPU)
    assert policy.model.config.model_type == "qwen2_5_vl"
    assert next(policy.model.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such folder"),
        ({}, "not a model folder"),
        ({"model_type": "gpt2"}, "expected one of: qwen2_5_vl, qwen3_vl"),
        ({"model_type": "qwen2_5_vl"}, "cannot be read"),
    ],
)
def test_a_folder_that_is_no_whole_model_of_ours_is_one_line(
    tmp_path: Path, content: dict[str, str] | None, message: str
) -> None:
    folder = tmp_path / "model"
    if content is not None:
        folder.mkdir()
    if content:
        (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message) as caught:
        load_policy(str(folder), CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", lambda whole: whole[:-5000], "cannot be read"),
        ("model.safetensors", lambda whole: b"\xff" * 8 + whole[8:], "cannot be read"),
        ("model.safetensors", b"", "cannot be read"),
        ("tokenizer.json", b"[1]", "cannot be read"),
        ("tokenizer_config.json", b"[1]", "cannot be read"),
        ("processor_config.json", b"[1]", "cannot be read"),
        ("generation_config.json", b"[1]", "cannot be read"),
        ("generation_config.json", b'{"eos_token_id": "x"}', "eos_token_id"),
        ("generation_config.json", b'{"eos_token_id": [1, 99999]}', "eos_token_id"),
        ("config.json", b"[1]", "cannot be read"),
        ("config.json", b"{", "cannot be read"),
        ("chat_template.jinja", b"{{ 1 / 0 }}", "chat template"),
        ("chat_template.jinja", b"{% for", "chat template"),
        ("chat_template.jinja", b"{{ raise_exception('no') }}", "chat template"),
        ("chat_template.jinja", b"{{ ''.__class__.__mro__[1].__subclasses__() }}", "chat template"),
        ("chat_template.jinja", b"{{ range(10 ** 9) | list }}", "chat template"),
    ],
)
def test_a_damaged_or_hostile_file_is_one_line_with_the_model(
    tiny_folder: Path, tmp_path: Path, name: str, content: Any, message: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    harmed = folder / name
    harmed.write_bytes(content(harmed.read_bytes()) if callable(content) else content)
    with pytest.raises(UsageError, match=message) as caught:
        load_policy(str(folder), CPU)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_never_read(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"pytorch_model\.bin.*safetensors"):
        load_policy(str(folder), CPU)


def test_a_hub_name_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="nobody/nothing"):
        load_policy("nobody/nothing", CPU)


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(SettingsError, match="expected auto, cpu, cuda"):
        PolicySettings(device="gpu")
    with pytest.raises(UsageError, match="CUDA devices"):
        choose_device("cuda:99")
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32
    assert choose_dtype("auto", torch.device("cuda")) == torch.bfloat16


@pytest.mark.parametrize(
    ("side", "multiples", "named"),
    [
        (32, {"a": 28, "b": 32}, ["a"]),
        (28, {"a": 28, "b": 56}, []),
        (28, {"decode.multiple": 14}, ["decode.multiple"]),
        (32, {}, []),
    ],
)
def test_frames_are_resized_where_their_sides_are_no_multiples_of_the_models(
    side: int, multiples: dict[str, int], named: list[str]
) -> None:
    text = resized_frames(side, multiples)
    assert [name for name in multiples if f"{name}:" in text] == named
    assert (f"decode.multiple={side}" in text) == bool(named)


def test_the_side_is_that_of_the_model(any_folder: Path) -> None:
    """The processor leaves frames of these sides alone, and resizes others."""
    policy, side = load_policy(str(any_folder), CPU), token_side(str(any_folder))
    patch = policy.model.config.vision_config.patch_size
    for width, read in ((3 * side, 3 * side), (3 * side - 4, 3 * side)):
        views = (View(frames=np.zeros((2, 2 * side, width, 3), np.uint8), times=np.array([0.0, 1.0])),)
        (prompt,) = encode(policy, replace(make_group(), views=views))
        assert (prompt.grid[1] * patch, prompt.grid[2] * patch) == (2 * side, read)
