"""The tiny model that comes with the package (made by tools/train_tiny_vlm.py)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

import strive_rl
from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from strive_rl.policy.encode import user_text
from tools.tiny.examples import answer_text, make_examples
from tools.tiny.pool import as_question, make_pool
from tools.tiny.warm_start import accuracy, frozen

FOLDER = Path(strive_rl.__file__).parent / "study/demo_models/demo"


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy("demo", PolicySettings(device="cpu", dtype="float32"))


def test_the_tiny_weights_are_below_8_mb_together() -> None:
    root = FOLDER.parents[3]
    weights = [path for half in ("strive_data", "strive_rl") for path in (root / half).rglob("*.safetensors")]
    assert len(weights) == 3
    assert sum(path.stat().st_size for path in weights) < 8_000_000


def test_it_is_small_and_holds_no_pickle() -> None:
    for folder in (FOLDER, FOLDER.with_name("demo-hard")):
        assert sum(path.stat().st_size for path in folder.iterdir()) < 4_000_000
        assert {path.suffix for path in folder.iterdir()} == {".json", ".jinja", ".safetensors"}


def test_its_numbers_are_a_small_qwen2_5_vl() -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    text, vision = config["text_config"], config["vision_config"]
    head_width = text["hidden_size"] // text["num_attention_heads"]
    assert sum(text["rope_parameters"]["mrope_section"]) == head_width // 2
    assert vision["out_hidden_size"] == text["hidden_size"]
    assert (vision["patch_size"], vision["spatial_merge_size"], vision["temporal_patch_size"]) == (14, 2, 2)


@pytest.mark.parametrize("text", ["", "Größe 漢字 🎉\n\ttab  two", "<think>a</think><answer>B</answer>"])
def test_any_text_survives_the_tokenizer(text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True) == text


def test_tags_letters_and_special_tokens_are_single_tokens() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    named = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>")
    for text in (*named, "<think>", "</think>", "<answer>", "</answer>", "A", "F"):
        assert len(tokenizer.encode(text)) == 1, text
    assert tokenizer.padding_side == "left"
    assert tokenizer.eos_token == "<|im_end|>"


def test_a_good_answer_fits_into_sixteen_tokens() -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    asked = [one for video in make_pool(videos=5, seed=1) for one in video.plan.asked]
    for one in asked:
        assert len(tokenizer.encode(answer_text(one, one.options[0]))) < 16


def test_a_frame_pair_is_one_token_and_the_prompt_is_the_trainers(policy: Policy) -> None:
    pool = make_pool(videos=1, seed=1)
    (example, *_) = make_examples(policy, pool, samplers=("uniform",), seed=0)
    assert int(example.prompt.is_video.sum()) == 4
    asked = as_question(pool[0].plan.asked[0], "x")
    assert user_text(asked) in policy.tokenizer.decode(example.prompt.ids)


@pytest.mark.slow
def test_it_leaves_room_to_learn_and_answers_by_looking(policy: Policy) -> None:
    """Held-out videos; the control sees the frames of another video and is at chance."""
    pool = make_pool(videos=40, seed=31_337)
    examples = frozen(policy, make_examples(policy, pool, samplers=("comb",), seed=0))
    assert np.mean([example.seen for example in examples]) > 0.95
    assert 0.60 < accuracy(policy, examples) < 0.82
    others = [example.prompt.features for example in examples[4:] + examples[:4]]
    blind = [
        replace(example, prompt=replace(example.prompt, features=other))
        for example, other in zip(examples, others, strict=True)
    ]
    assert 0.12 < accuracy(policy, blind) < 0.38
