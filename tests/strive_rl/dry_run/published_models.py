"""Configs of the published models, by their sizes as published: folders without weights."""

from __future__ import annotations

from pathlib import Path

from transformers import Qwen2_5_VLConfig, Qwen3VLConfig


def qwen2_5_vl_7b() -> Qwen2_5_VLConfig:
    text = {
        "hidden_size": 3584,
        "num_hidden_layers": 28,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    }
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584}
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=False)


def qwen3_vl_8b() -> Qwen3VLConfig:
    text = {
        "hidden_size": 4096,
        "num_hidden_layers": 36,
        "intermediate_size": 12288,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
    }
    return Qwen3VLConfig(text_config=text, vision_config={"out_hidden_size": 4096}, tie_word_embeddings=False)


def save_config(config: Qwen2_5_VLConfig | Qwen3VLConfig, folder: Path) -> Path:
    config.save_pretrained(folder)
    return folder
