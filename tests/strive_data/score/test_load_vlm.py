from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from strive_data.config import ScoreSettings
from strive_data.errors import UsageError
from strive_data.score.load_vlm import load_vlm
from tests.strive_data.score.tiny_vlms import write_llava

DEMO = Path(__file__).parents[3] / "strive_rl" / "demo_model"


def settings_of(model: object, **changes: object) -> ScoreSettings:
    return ScoreSettings(scorer="vlm", model=str(model), **({"device": "cpu"} | changes))


def test_the_default_is_llava_onevision_and_the_settings_say_so() -> None:
    assert ScoreSettings(scorer="vlm").model == "llava-hf/llava-onevision-qwen2-0.5b-ov-hf"
    assert (ScoreSettings().model, ScoreSettings(scorer="demo").model) == ("ViT-B-32", "")
    cascade = ScoreSettings(scorer="cascade")
    assert (cascade.model, cascade.cascade_model) == ("ViT-B-32", ScoreSettings(scorer="vlm").model)


def test_what_is_loaded(tiny_vlms: Path) -> None:
    """ANSWERS of the tiny tokenizer: three spellings of yes and two of no, right after its 300 tokens."""
    llava, qwen = load_vlm(settings_of(tiny_vlms / "llava")), load_vlm(settings_of(tiny_vlms / "qwen"))
    assert (llava.name, llava.as_videos, llava.capacity) == ("llava", True, 512)
    assert (qwen.name, qwen.as_videos, qwen.capacity) == ("qwen", False, 8192)
    assert (len(llava.yes), len(llava.no), len(qwen.yes), len(qwen.no)) == (3, 2, 3, 2)
    tokenizer = llava.processor.tokenizer
    assert sorted(tokenizer.convert_ids_to_tokens(llava.yes.tolist())) == [" yes", "Yes", "yes"]
    assert sorted(tokenizer.convert_ids_to_tokens(llava.no.tolist())) == ["No", "no"]
    assert {"<image>", "<video>", "<|im_end|>"} <= set(llava.reserved)
    assert {"<|image_pad|>", "<|vision_start|>"} <= set(qwen.reserved)
    assert not llava.model.training


def test_the_precision_is_that_of_the_weights(tiny_vlms: Path) -> None:
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        vlm = load_vlm(settings_of(tiny_vlms / "llava", precision=precision))
        assert {weight.dtype for weight in vlm.model.parameters()} == {dtype}


def test_a_tokenizer_without_the_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"tokenizer of .*demo_model has none of 'yes', 'Yes', .* as one token"
    ):
        load_vlm(settings_of(DEMO))
    write_llava(tmp_path, answers=("yes", "nope"))
    with pytest.raises(UsageError, match="has none of 'no', 'No'"):
        load_vlm(settings_of(tmp_path))


def test_missing_weights_are_refused_and_not_made_up(tiny_vlms: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_vlms / "llava", tmp_path / "cut"))
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in weights if "q_proj.weight" in name)
    save_file({k: v for k, v in weights.items() if k != lost}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match=r"lacks 1 weights, the first is .*q_proj\.weight"):
        load_vlm(settings_of(folder))


def test_what_is_no_such_model_is_refused(
    tiny_vlms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        UsageError, match=r"cannot load .*empty: .*; score\.model takes an image-text-to-text model"
    ):
        load_vlm(settings_of(tmp_path / "empty"))
    with pytest.raises(UsageError, match=r"cannot load nobody/nothing: .*without a network, a folder"):
        load_vlm(settings_of("nobody/nothing"))
    folder = Path(shutil.copytree(tiny_vlms / "llava", tmp_path / "silent"))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match="has no chat template"):
        load_vlm(settings_of(folder))
    with pytest.raises(UsageError, match=r"score\.device: got 'abacus'"):
        load_vlm(settings_of(tiny_vlms / "llava", device="abacus"))
