"""Tiny random models of the real classes, with a byte tokenizer: Qwen2.5-VL, Qwen3-VL, Qwen3.5.

With the default initialisation attention is near uniform and wrong positions go unnoticed, so
the weights are redrawn: q, k with deviation .25, v, o .1, embeddings .3; linear attention remembers long.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoProcessor,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3_5MoeConfig,
    Qwen3_5MoeForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from strive_rl.policy import Policy

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
    "<|vision_start|><|video_pad|><|vision_end|>{% elif part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_tiny_qwen2_5_vl(folder: Path, seed: int = 0) -> Path:
    tokenizer = byte_tokenizer()
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen2VLVideoProcessor(),
        tokenizer=tokenizer,
        chat_template=CHAT,
    )
    return save(folder, Qwen2_5_VLForConditionalGeneration(qwen2_5_vl_config(tokenizer)), processor, seed)


def save_tiny_qwen3_vl(folder: Path, seed: int = 0) -> Path:
    processor = stamping_processor()
    model = Qwen3VLForConditionalGeneration(qwen3_vl_config(processor.tokenizer))
    return save(folder, model, processor, seed)


def save_tiny_qwen3_5(folder: Path, seed: int = 0) -> Path:
    processor = stamping_processor()
    model = Qwen3_5ForConditionalGeneration(qwen3_5_config(processor.tokenizer))
    return save(folder, model, processor, seed)


def save_tiny_qwen3_vl_moe(folder: Path, seed: int = 0) -> Path:
    processor = stamping_processor()
    values = qwen3_vl_config(processor.tokenizer).to_dict()
    config = Qwen3VLMoeConfig(**with_experts(values, intermediate=24))
    return save(folder, Qwen3VLMoeForConditionalGeneration(config), processor, seed)


def save_tiny_qwen3_5_moe(folder: Path, seed: int = 0) -> Path:
    processor = stamping_processor()
    values = qwen3_5_config(processor.tokenizer).to_dict()
    config = Qwen3_5MoeConfig(**with_experts(values, intermediate=24, shared=16))
    return save(folder, Qwen3_5MoeForConditionalGeneration(config), processor, seed)


def with_experts(values: dict[str, Any], intermediate: int, shared: int | None = None) -> dict[str, Any]:
    """A config's values with six experts, two of them for each token."""
    text = values["text_config"] | {
        "num_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": intermediate,
        **({"shared_expert_intermediate_size": shared} if shared else {}),
    }
    parts = {"text_config": text, "vision_config": dict(values["vision_config"])}
    for part in parts.values():
        part.pop("model_type", None)
    kept = {name: value for name, value in values.items() if name not in ("model_type", "architectures")}
    return kept | parts


def stamping_processor() -> Qwen3VLProcessor:
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(patch_size=16),
        video_processor=Qwen3VLVideoProcessor(),
        tokenizer=byte_tokenizer(),
        chat_template=CHAT,
    )


# By model_type, as `strive_rl.policy.architectures.ARCHITECTURES`.
TINY_MODELS = {
    "qwen2_5_vl": save_tiny_qwen2_5_vl,
    "qwen3_vl": save_tiny_qwen3_vl,
    "qwen3_5": save_tiny_qwen3_5,
    "qwen3_vl_moe": save_tiny_qwen3_vl_moe,
    "qwen3_5_moe": save_tiny_qwen3_5_moe,
}
# Those that every test of the policy runs on; mixtures of experts have tests of their own.
DENSE = ("qwen2_5_vl", "qwen3_vl", "qwen3_5")


# Heads of 32, the smallest that vLLM's CPU attention knows.
WIDE_TEXT: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 96,
    "max_position_embeddings": 8192,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
}
WIDE_VISION = {"hidden_size": 64, "out_hidden_size": 128}


def save_wide(folder: Path, model_type: str, seed: int = 0) -> Path:
    """A model as above that vLLM can run."""
    processor = AutoProcessor.from_pretrained(TINY_MODELS[model_type](folder, seed))
    architecture: Any = {
        "qwen2_5_vl": (Qwen2_5_VLForConditionalGeneration, qwen2_5_vl_config),
        "qwen3_vl": (Qwen3VLForConditionalGeneration, qwen3_vl_config),
    }[model_type]
    made, config = architecture[0], architecture[1](processor.tokenizer)
    values = config.to_dict()
    values["text_config"] |= WIDE_TEXT
    values["vision_config"] |= WIDE_VISION
    if model_type == "qwen3_vl":
        # Without it vLLM takes the older order of the axes.
        rope = WIDE_TEXT["rope_parameters"] | {"mrope_interleaved": True}
        values["text_config"] |= {"head_dim": 32, "rope_parameters": rope}
    # Queries and keys four times as wide as those of the others: scores of the same size.
    return save(folder, made(type(config)(**values)), processor, seed, spread=0.5)


def save(folder: Path, model: Any, processor: Any, seed: int, spread: float = 1.0) -> Path:
    redraw(model, seed, spread)
    model.generation_config = GenerationConfig(eos_token_id=processor.tokenizer.eos_token_id)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
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


def text_config(tokenizer: PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer) + 5,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 65536,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]},
        "bos_token_id": None,
        "eos_token_id": tokenizer.convert_tokens_to_ids(SPECIAL["eos_token"]),
        "pad_token_id": tokenizer.convert_tokens_to_ids(SPECIAL["pad_token"]),
        **more,
    }


def vision_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    names = ("image_token", "video_token", "vision_start_token", "vision_end_token")
    return {f"{name}_id": tokenizer.convert_tokens_to_ids(SPECIAL[name]) for name in names}


def qwen2_5_vl_config(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLConfig:
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
        text_config=text_config(tokenizer),
        vision_config=vision,
        tie_word_embeddings=True,
        **vision_ids(tokenizer),
    )


def qwen3_vl_config(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLConfig:
    vision = {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 32,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0, 1],
    }
    return Qwen3VLConfig(
        text_config=text_config(tokenizer, head_dim=8, num_hidden_layers=3),
        vision_config=vision,
        tie_word_embeddings=True,
        **vision_ids(tokenizer),
    )


# Both kinds of layers, value heads beside key heads, and half of a head that is rotated.
HYBRID_TEXT: dict[str, Any] = {
    "tie_word_embeddings": True,
    "head_dim": 16,
    "num_hidden_layers": 3,
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
        "mrope_section": [2, 1, 1],
    },
}
FLAT_VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "out_hidden_size": 32,
    "num_position_embeddings": 16,
}


def qwen3_5_config(tokenizer: PreTrainedTokenizerFast) -> Qwen3_5Config:
    return Qwen3_5Config(
        text_config=text_config(tokenizer, **HYBRID_TEXT),
        vision_config=FLAT_VISION,
        tie_word_embeddings=True,
        **vision_ids(tokenizer),
    )


def redraw(model: torch.nn.Module, seed: int, spread: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    deviations = {
        "q_proj": 0.25 * spread,
        "k_proj": 0.25 * spread,
        "v_proj": 0.1,
        "o_proj": 0.1,
        "embed_tokens": 0.3,
        "in_proj_qkv": 0.25 * spread,
        "conv1d": 0.5,
        "mlp.gate.weight": 0.5,
        "qkv": 0.15,
    }
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("A_log"):
                # Slow decays, so that what a linear layer remembers of a long prompt counts.
                parameter.copy_(torch.rand(parameter.shape, generator=generator).mul(0.1).add(1e-3).log())
            if parameter.ndim < 2:
                continue
            part = next((part for part in deviations if part in name), "")
            deviation = deviations.get(part, 0.1)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviation)


def answering(policy: Policy) -> Policy:
    """The policy of a tiny model, which says nothing but whole answers, one letter, or the end."""
    allowed = policy.tokenizer.convert_tokens_to_ids([*ANSWERS, "x", SPECIAL["eos_token"]])
    suppressed = torch.ones_like(policy.suppressed)
    suppressed[allowed] = False
    return replace(policy, suppressed=suppressed)
