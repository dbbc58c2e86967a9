"""The folder of the tiny CLIP: a plain open_clip `local-dir:` with its own small tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

START, END, PAD = "<|startoftext|>", "<|endoftext|>", "<|pad|>"
VOCAB_SIZE = 512
CONTEXT_LENGTH = 48
PREPROCESS = {
    "size": [28, 28],
    "mode": "RGB",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}


def write_tokenizer(folder: Path, texts: Iterable[str]) -> None:
    """Lower-case byte-level BPE; the end token has the highest id, which is where open_clip reads a text."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - 2,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[PAD],
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.add_special_tokens([START, END])
    ids = [(token, bpe.token_to_id(token)) for token in (START, END)]
    bpe.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ids)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=START, eos_token=END, pad_token=PAD, padding_side="right"
    )
    tokenizer.save_pretrained(folder)


def model_config() -> dict[str, Any]:
    """About 0.4 M parameters; the names are those of any model of open_clip."""
    return {
        "embed_dim": 64,
        "init_logit_bias": -2.0,
        "vision_cfg": {
            "image_size": 28,
            "patch_size": 4,
            "width": 64,
            "head_width": 16,
            "layers": 4,
            "mlp_ratio": 2.0,
            "pool_type": "avg",
        },
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": VOCAB_SIZE,
            "hf_tokenizer_name": "demo_clip",
            "width": 64,
            "heads": 4,
            "layers": 2,
            "mlp_ratio": 2.0,
        },
    }


def write_config(folder: Path) -> None:
    """open_clip_config.json."""
    body = {"model_cfg": model_config(), "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
