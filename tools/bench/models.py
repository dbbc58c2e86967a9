"""Models with random weights, as folders: config, weights, tokenizer, processor. Nothing is downloaded.

Every part is the real class of transformers. `SHAPES` has the published sizes and small ones; the tokenizer
is a byte-level BPE, whatever the vocabulary of the shape: ids beyond it decode to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from strive_rl.dry_run.memory import published_sizes
from tools.tiny.folders import CHAT_TEMPLATE, train_tokenizer


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a model, by the names of its config; the patches of the tower have `patch` pixels a side."""

    model_type: str
    text: Mapping[str, Any]
    vision: Mapping[str, Any]
    patch: int = 14
    more: Mapping[str, Any] = field(default_factory=dict)


SMALL_TOWER = {"depth": 4, "hidden_size": 256, "intermediate_size": 768, "num_heads": 4}


def small(width: int = 384, layers: int = 6, vocabulary: int = 2048) -> Shape:
    """A Qwen2.5-VL for one CPU core: heads of 64, three to a key head, and a tower of 4 layers."""
    heads = width // 64
    return Shape(
        model_type="qwen2_5_vl",
        text={
            "hidden_size": width,
            "intermediate_size": 3 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": max(1, heads // 3),
            "vocab_size": vocabulary,
            "rope_parameters": _rope([8, 12, 12]),
        },
        vision=SMALL_TOWER | {"out_hidden_size": width, "fullatt_block_indexes": [3]},
    )


def small_qwen3_vl(width: int = 384, layers: int = 6, vocabulary: int = 2048) -> Shape:
    """A Qwen3-VL of about the same size."""
    shape = small(width, layers, vocabulary)
    return Shape(
        model_type="qwen3_vl",
        text={**shape.text, "head_dim": 64, "rope_parameters": _rope([12, 10, 10], mrope_interleaved=True)},
        vision=SMALL_TOWER
        | {"out_hidden_size": width, "num_position_embeddings": 576, "deepstack_visual_indexes": [1, 2]},
        patch=16,
    )


def _rope(sections: list[int], **more: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections, **more}


def published(name: str, rope: Mapping[str, Any], patch: int) -> Shape:
    """The shape of a published model by its hub name."""
    sizes = published_sizes()[name]
    text = {**sizes["text_config"], "rope_parameters": rope}
    return Shape(model_type=sizes["model_type"], text=text, vision=sizes["vision_config"], patch=patch)


SHAPES = {
    "small": small(),
    "small-qwen3": small_qwen3_vl(),
    "qwen2.5-vl-7b": published("Qwen/Qwen2.5-VL-7B", _rope([16, 24, 24]), patch=14),
    "qwen3-vl-8b": published(
        "Qwen/Qwen3-VL-8B", _rope([24, 20, 20], mrope_interleaved=True) | {"rope_theta": 5e6}, patch=16
    ),
}
CLASSES = {
    "qwen2_5_vl": (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration),
    "qwen3_vl": (Qwen3VLConfig, Qwen3VLForConditionalGeneration),
}


def save_model(folder: Path, shape: Shape, *, device: str = "cpu", dtype: str = "float32") -> Path:
    """Write a model of this shape, its weights drawn on `device` from a fixed seed."""
    tokenizer = bench_tokenizer()
    kind, model_class = CLASSES[shape.model_type]
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            model = model_class(kind(**_config(shape, tokenizer)))
    finally:
        torch.set_default_dtype(before)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(folder)
    _processor(shape, tokenizer).save_pretrained(folder)
    return folder


def bench_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE that knows the words of the prompts of a benchmark."""
    words = "What happens in the video after that? Answer with the letter of one option: A, B, C, D."
    return train_tokenizer([words] * 4, vocab_size=640)


def _config(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "video_pad")}
    start, end = (tokenizer.convert_tokens_to_ids(f"<|vision_{side}|>") for side in ("start", "end"))
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    return {
        "text_config": {**shape.text, **ends, "bos_token_id": None, "max_position_embeddings": 65536},
        "vision_config": {**shape.vision, "patch_size": shape.patch},
        "image_token_id": ids["image_pad"],
        "video_token_id": ids["video_pad"],
        "vision_start_token_id": start,
        "vision_end_token_id": end,
        "tie_word_embeddings": False,
        **ends,
    }


def _processor(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> Any:
    image = Qwen2VLImageProcessor(patch_size=shape.patch)
    if shape.model_type == "qwen3_vl":
        video: Any = Qwen3VLVideoProcessor(patch_size=shape.patch, do_sample_frames=False)
        kind: Any = Qwen3VLProcessor
    else:
        kind, video = Qwen2_5_VLProcessor, Qwen2VLVideoProcessor(do_sample_frames=False)
    return kind(
        image_processor=image, video_processor=video, tokenizer=tokenizer, chat_template=CHAT_TEMPLATE
    )
