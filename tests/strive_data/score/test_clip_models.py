from __future__ import annotations

import json
import pickle
import socket
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from huggingface_hub import constants as hub
from safetensors.torch import save_file
from transformers import GemmaTokenizer

from strive_data.config import ScoreSettings
from strive_data.errors import UsageError
from strive_data.score.clip import ClipScorer, check_names, choose_device, load_clip, token_counter
from strive_data.score.registry import DEMO_MODEL
from strive_data.score.scorer import split_query
from tests.safety.forgeries import Bomb
from tests.strive_data.made.samples import a_question
from tests.strive_data.score.videos import cosines_by_open_clip, video_of


@pytest.mark.parametrize("accepts", [False, True])
def test_a_hub_that_does_not_answer_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], accepts: bool
) -> None:
    """A closed port, and a server that accepts and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if accepts:
            server.listen()
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(hub, "ENDPOINT", endpoint)
        monkeypatch.setattr(hub, "HF_HUB_ETAG_TIMEOUT", 1)
        monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
        started = time.monotonic()
        with pytest.raises(UsageError, match=r"cannot load hf-hub:nobody/none.*--scorer flat"):
            load_clip(ScoreSettings(model="hf-hub:nobody/none"))
    assert time.monotonic() - started < 15
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"score: loading hf-hub:nobody/none from {endpoint} or its cache ")
    assert said[1:] == [f"score: {endpoint} does not answer; only its cache is read"]
    assert hub.HF_HUB_OFFLINE is False


def test_an_unknown_model_or_tag_and_a_missing_file_are_said() -> None:
    with pytest.raises(UsageError, match=r"'ViT-B32', which open_clip does not know, .* 'ViT-B-32'"):
        check_names("ViT-B32", "openai")
    for tag in ("opanai", "/no/such/file.pt"):
        with pytest.raises(UsageError, match=r"nor a tag of ViT-B-32; tags: openai, .*local-dir:"):
            load_clip(ScoreSettings(model="ViT-B-32", pretrained=tag))
    with pytest.raises(UsageError, match=r"/no/such is no open_clip folder \(no open_clip_config.json\)"):
        load_clip(ScoreSettings(model="local-dir:/no/such"))


def test_a_folder_without_weights_is_refused(tiny_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text((tiny_clip / "open_clip_config.json").read_text())
    with pytest.raises(UsageError, match=f"cannot load local-dir:{tmp_path}"):
        load_clip(ScoreSettings(model=f"local-dir:{tmp_path}"))


@pytest.mark.parametrize(
    ("name", "tensors", "says"),
    [
        ("weights.pt", None, ""),
        ("weights.safetensors", None, ""),
        # Regression: an AssertionError of open_clip ended the command with a traceback.
        ("weights.safetensors", {"positional_embedding": torch.zeros(5, 8)}, "width changed"),
    ],
    ids=["no checkpoint", "no safetensors", "another architecture"],
)
def test_weights_that_do_not_fit_are_a_usage_error(
    tiny_name: str, tmp_path: Path, name: str, tensors: dict[str, torch.Tensor] | None, says: str
) -> None:
    if tensors:
        save_file(tensors, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(b"this is no checkpoint")
    with pytest.raises(UsageError, match=f"cannot load {tiny_name} with pretrained=.*{says}"):
        load_clip(ScoreSettings(model=tiny_name, pretrained=str(tmp_path / name)))


def test_a_tokenizer_from_the_hub_is_announced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: with a local checkpoint, the hub was asked for it for more than a minute without a word."""

    def large(*_: object, **__: object) -> None:
        raise OSError("not made here")

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(open_clip, "create_model_and_transforms", large)
    weights = tmp_path / "weights.pt"
    weights.touch()
    with pytest.raises(UsageError, match="local-dir:/path/to/folder"):
        load_clip(ScoreSettings(model="ViT-B-16-SigLIP2", pretrained=str(weights)))
    assert "score: loading ViT-B-16-SigLIP2" in capsys.readouterr().err


def test_a_pickle_is_never_run(tiny_name: str, tmp_path: Path) -> None:
    weights, made = tmp_path / "weights.pt", tmp_path / "made"
    torch.save({"state_dict": Bomb(made)}, weights)
    with pytest.raises(UsageError, match="cannot load"):
        load_clip(ScoreSettings(model=tiny_name, pretrained=str(weights)))
    assert not made.exists()
    pickle.loads(pickle.dumps(Bomb(made)))  # the control: it would have worked
    assert made.exists()


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda")
    with pytest.raises(UsageError, match="expected auto, cpu or cuda"):
        choose_device("gpu please")


def test_tokens_are_counted_without_the_special_ones(tiny_clip: Path) -> None:
    count, capacity = token_counter(open_clip.get_tokenizer("ViT-B-32"))
    assert capacity == 75
    assert count("a photo of a cat") == 5
    assert count("") == 0
    assert load_clip(ScoreSettings(model=f"local-dir:{tiny_clip}")).capacity == 18


def test_a_tokenizer_of_transformers_is_counted_as_open_clip_uses_it() -> None:
    tokenizer = open_clip.get_tokenizer(f"local-dir:{DEMO_MODEL}")
    count, capacity = token_counter(tokenizer)
    assert capacity == 46
    text = "What colour is the star?"
    kept = int((tokenizer([text])[0] != tokenizer.tokenizer.pad_token_id).sum())
    assert kept == count(text) + 2


# As the configurations of ViT-*-SigLIP2 and PE-Core-* in open_clip, but for the sizes.
SIGLIP2 = {
    "embed_dim": 96,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 160,
        "timm_model_name": "test_vit3",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": "none",
    },
    "text_cfg": {
        "context_length": 64,
        "vocab_size": 64,
        "hf_tokenizer_name": "tiny",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "width": 32,
        "heads": 2,
        "layers": 2,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-06},
        "act_kwargs": {"approximate": "tanh"},
    },
}
PE_CORE = {
    "embed_dim": 64,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 384,
        "timm_model_name": "vit_pe_core_tiny_patch16_384",
        "timm_model_pretrained": False,
        "timm_pool": "map",
        "timm_proj": None,
    },
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
LETTERS = "▁abcdefghijklmnopqrstuvwxyz0123456789"
CAPACITY = {"siglip2": 63, "pe_core": 30}  # less the end token; less begin and end
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
SHORT = replace(a_question("q"), question="Who holds it?", options=("A. Ann",))
LONG = replace(SHORT, question=" ".join(f"what is number {number} doing" for number in range(60)))


@pytest.fixture(scope="session", params=["siglip2", "pe_core"])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("family") / request.param
    folder.mkdir()
    config = SIGLIP2 if request.param == "siglip2" else PE_CORE
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    if request.param == "siglip2":
        vocab = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<mask>": 4}
        vocab |= {letter: number + 5 for number, letter in enumerate(LETTERS)}
        GemmaTokenizer(vocab=vocab, merges=[], add_bos_token=False, add_eos_token=True).save_pretrained(
            folder
        )
    torch.manual_seed(0)
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder


def settings_of(folder: Path) -> ScoreSettings:
    return ScoreSettings(model=f"local-dir:{folder}", device="cpu", batch_size=2)


def test_scores_are_cosines_of_open_clip(family: Path) -> None:
    expected = cosines_by_open_clip(family, "Who holds it? A. Ann", FRAMES)
    scored, long = ClipScorer(settings_of(family)).score(video_of(FRAMES), [SHORT, LONG])
    assert scored.scores == pytest.approx(expected, abs=1e-5)
    assert (scored.windows, scored.scorer) == (1, family.name)
    assert long.windows > 4


def test_no_token_of_a_long_query_is_cut_off(family: Path) -> None:
    clip = load_clip(settings_of(family))
    assert clip.capacity == CAPACITY[family.name]
    windows = split_query(LONG.question, count=clip.count_tokens, capacity=clip.capacity, overlap=0)
    ids = clip.tokenize(windows)
    assert ids.shape[1] == clip.capacity + (1 if family.name == "siglip2" else 2)
    kept = sum(int((row != 0).sum()) - (ids.shape[1] - clip.capacity) for row in ids)
    assert kept == sum(clip.count_tokens(window) for window in windows)
    assert " ".join(windows) == LONG.question
    full = windows[0] + LONG.question.removeprefix(windows[0])[:8]
    assert clip.count_tokens(full) > clip.capacity


@pytest.mark.parametrize(
    "name", ["ViT-B-16-SigLIP2", "ViT-SO400M-14-SigLIP2-378", "PE-Core-B-16", "PE-Core-L-14-336"]
)
def test_open_clip_has_the_models_of_the_readme_in_these_shapes(name: str) -> None:
    config = open_clip.get_model_config(name)
    small = SIGLIP2 if "SigLIP2" in name else PE_CORE
    assert config["text_cfg"]["context_length"] == small["text_cfg"]["context_length"]
    assert config["vision_cfg"]["timm_pool"] == "map"
    assert open_clip.list_pretrained_tags_by_model(name) == ["webli" if small is SIGLIP2 else "meta"]
