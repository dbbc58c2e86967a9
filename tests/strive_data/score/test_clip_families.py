"""SigLIP2 (context 64) and PE-Core (context 32): small models of the architectures that open_clip has."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import GemmaTokenizer

from strive_data.config import ScoreSettings
from strive_data.score.clip import ClipScorer
from strive_data.score.load_clip import load_clip
from strive_data.score.scorer import FrameScores, split_query
from tests.strive_data.made.samples import a_question
from tests.strive_data.score.videos import video_of

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
    """Oracle: open_clip used plainly, one image and one text at a time."""
    name = f"local-dir:{family}"
    model, _, transform = open_clip.create_model_and_transforms(name)
    model.eval()
    text = open_clip.get_tokenizer(name)(["Who holds it? A. Ann"])
    with torch.no_grad():
        query = model.encode_text(text, normalize=True)[0]
        images = [transform(Image.fromarray(frame))[None] for frame in FRAMES]
        expected = [float(model.encode_image(image, normalize=True)[0] @ query) for image in images]
    scored, long = ClipScorer(settings_of(family)).score(video_of(FRAMES), [SHORT, LONG])
    assert isinstance(scored, FrameScores)
    assert isinstance(long, FrameScores)
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
    assert config is not None
    assert config["text_cfg"]["context_length"] == small["text_cfg"]["context_length"]
    assert config["vision_cfg"]["timm_pool"] == "map"
    assert open_clip.list_pretrained_tags_by_model(name) == ["webli" if small is SIGLIP2 else "meta"]
