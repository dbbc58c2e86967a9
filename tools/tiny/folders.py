"""The folders of the tiny models: config, tokenizer, processor, chat template; what tokenizers learn from.

The CLIP is a plain open_clip `local-dir:` with its own small tokenizer. Of the Qwen2.5-VL every part is the
real class of transformers with small numbers: 28×28 pixels of a frame pair are one merged token, and the
tokenizer is a byte-level BPE, so that any text can be encoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from strive_data.demo.world import COLOURS, SHAPES, TEMPLATES

INSTRUCTIONS = """
Watch the video and answer the question about it. Look at the frames first, then reason step by step
and write your thoughts between <think> and </think>. After that give only the final answer between
<answer> and </answer>. Options: the answer is the letter of the right option, a number, a short
text, the words that can be read in the video, or a value. Question: Think about what you have seen:
there is a video of several objects; the shape of the object and the colour of the object are what
the question asks for. For example, write: I see it.
"""


def question_texts() -> list[str]:
    """Every question that the world can ask, and options in the layout of the annotation."""
    asked = [
        text.format(colour=colour, shape=shape)
        for (texts, colour, shape) in product(TEMPLATES.values(), COLOURS, SHAPES)
        for text in texts
    ]
    options = [f"{letter}. {name}" for letter in "ABCDEF" for name in (*COLOURS, *SHAPES)]
    return asked + options + [INSTRUCTIONS]


START, END, PAD = "<|startoftext|>", "<|endoftext|>", "<|pad|>"
CLIP_VOCAB_SIZE = 512
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
        vocab_size=CLIP_VOCAB_SIZE - 2,
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
            "vocab_size": CLIP_VOCAB_SIZE,
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


SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
VOCAB_SIZE = 640
PLAIN_TOKENS = ("<think>", "</think>", "<answer>", "</answer>")

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' or 'video' in part %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = VOCAB_SIZE - 4) -> PreTrainedTokenizerFast:
    """Byte-level BPE over `texts`, with Qwen's special tokens as attributes and left padding."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.add_tokens([AddedToken(text, normalized=False, special=False) for text in PLAIN_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
        extra_special_tokens={
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "vision_bos_token": "<|vision_start|>",
            "vision_eos_token": "<|vision_end|>",
        },
    )


def make_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLProcessor:
    """Processor of Qwen2.5-VL whose smallest frame is 28×28 pixels; frames come sampled already."""
    size = {"shortest_edge": 28 * 28, "longest_edge": 128 * 28 * 28}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=size, do_sample_frames=False, cap_pixels_per_frame=True),
        chat_template=CHAT_TEMPLATE,
    )


def make_config(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLConfig:
    """About 0.7 M parameters; initialised wide enough (0.08) to learn at this width."""
    ids = {text: tokenizer.convert_tokens_to_ids(text) for text in SPECIAL_TOKENS}
    ends = {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"], "bos_token_id": None}
    text = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 8192,
        "initializer_range": 0.08,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]},
        **ends,
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 4,
        "out_hidden_size": 128,
        "tokens_per_second": 2,
        "window_size": 112,
        "fullatt_block_indexes": [1],
        "initializer_range": 0.08,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
        initializer_range=0.08,
        **ends,
    )


def make_model(config: Qwen2_5_VLConfig, *, seed: int) -> Qwen2_5_VLForConditionalGeneration:
    """Random float32 weights from `seed`."""
    torch.manual_seed(seed)
    return Qwen2_5_VLForConditionalGeneration(config).float().eval()
