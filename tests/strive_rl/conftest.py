"""Fixtures of the trainer's tests: a tiny random Qwen2.5-VL folder, groups of made-up views.

The model is of the real classes, with a byte tokenizer. With the default initialisation attention is near
uniform and wrong positions go unnoticed (DESIGN.md 7.8), so the weights are redrawn: q, k with deviation .25,
v, o .1, embeddings .3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from strive_data.schema import Question
from strive_rl.config import PolicySettings
from strive_rl.policy import Policy, load_policy
from strive_rl.schema import Group, View


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny_model"))


@pytest.fixture(scope="session")
def tiny_policy(tiny_folder: Path) -> Policy:
    return load_policy(str(tiny_folder), PolicySettings(device="cpu"))


@pytest.fixture
def answering(tiny_folder: Path) -> Callable[[Policy], Policy]:
    """Makes a policy of the tiny model say nothing but whole answers, one letter, or the end."""

    def only_answers(policy: Policy) -> Policy:
        allowed = policy.tokenizer.convert_tokens_to_ids([*ANSWERS, "x", SPECIAL["eos_token"]])
        suppressed = torch.ones_like(policy.suppressed)
        suppressed[allowed] = False
        return replace(policy, suppressed=suppressed)

    return only_answers


@pytest.fixture(scope="session")
def make_group() -> Callable[..., Group]:
    return group


def group(
    sample_id: str = "q1",
    times: tuple[tuple[float, ...], ...] = ((0.5, 1.0, 4.0, 9.5),),
    side: int = 28,
    seed: int = 0,
) -> Group:
    """A group with one view for each tuple of times, its frames random squares of `side` pixels."""
    generator = np.random.default_rng(seed)
    views = tuple(
        View(
            frames=generator.integers(0, 256, (len(each), side, side, 3), dtype=np.uint8),
            times=np.array(each, dtype=np.float64),
        )
        for each in times
    )
    question = Question(
        sample_id=sample_id,
        video="v.mp4",
        question="Which?",
        answer="A",
        problem_type="multiple choice",
        options=("A. red", "B. blue"),
    )
    return Group(question=question, views=views)


SPECIAL = {
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "start_token": "<|im_start|>",
}
# Whole answers as single tokens, so that a random model can be rewarded.
ANSWERS = ("<answer>A</answer>", "<answer>B</answer>", "<think>x</think><answer>A</answer>")
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}"
    "<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_tiny_model(folder: Path, seed: int = 0) -> Path:
    tokenizer = byte_tokenizer()
    model = redrawn(Qwen2_5_VLForConditionalGeneration(config(tokenizer)), seed)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    model.save_pretrained(folder)
    processor(tokenizer).save_pretrained(folder)
    return folder


def byte_tokenizer() -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_tokens(list(ANSWERS))
    extra = {name: token for name, token in SPECIAL.items() if name not in ("eos_token", "pad_token")}
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=SPECIAL["eos_token"],
        pad_token=SPECIAL["pad_token"],
        extra_special_tokens=extra,
    )


def config(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLConfig:
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    text = {
        "vocab_size": len(tokenizer) + 5,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]},
        "bos_token_id": None,
        "eos_token_id": ids["eos_token"],
        "pad_token_id": ids["pad_token"],
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [1],
        "window_size": 56,
        "tokens_per_second": 2,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["image_token"],
        video_token_id=ids["video_token"],
        vision_start_token_id=ids["vision_start_token"],
        vision_end_token_id=ids["vision_end_token"],
        tie_word_embeddings=True,
    )


def processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLProcessor:
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen2VLVideoProcessor(),
        tokenizer=tokenizer,
        chat_template=CHAT,
    )


def redrawn(model: Qwen2_5_VLForConditionalGeneration, seed: int) -> Qwen2_5_VLForConditionalGeneration:
    generator = torch.Generator().manual_seed(seed)
    deviations = {
        "q_proj": 0.25,
        "k_proj": 0.25,
        "v_proj": 0.1,
        "o_proj": 0.1,
        "embed_tokens": 0.3,
        "qkv": 0.15,
    }
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim < 2:
                continue
            part = next((part for part in deviations if part in name), "")
            deviation = deviations.get(part, 0.1)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation)
    return model
