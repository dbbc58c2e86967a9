"""Tiny models of the real classes, with tokenizer and processor, made without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoProcessor,
    AutoTokenizer,
    BertTokenizer,
    BlipConfig,
    BlipForImageTextRetrieval,
    BlipImageProcessor,
    BlipProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLForConditionalGeneration,
)

from tests.strive_rl.made.models import save_tiny_qwen3_vl

ANSWERS = ("yes", "Yes", " yes", "no", "No")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
SIDE, PATCH = 32, 8
# That of llava-hf/llava-onevision-qwen2-0.5b-ov-hf: what is seen first, then the text.
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}"
    "{% for content in message['content'] if content['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
    "{% for content in message['content'] if content['type'] == 'video' %}{{ '<video>' }}{% endfor %}"
    "{% for content in message['content'] if content['type'] == 'text' %}"
    "{{ '\n' + content['text'] }}{% endfor %}"
    "{{'<|im_end|>'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def redraw(model: torch.nn.Module, seed: int) -> None:
    """Weights wide enough that attention, positions and text matter."""
    draw = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            continue
        std = 0.25 if "q_proj" in name or "k_proj" in name else 0.3 if "embed" in name else 0.1
        with torch.no_grad():
            weight.copy_(torch.randn(weight.shape, generator=draw) * std)


def write_llava(folder: Path, *, answers: tuple[str, ...] = ANSWERS) -> Path:
    """A LLaVA-OneVision of two layers a tower that looks at 32×32 pixels in 8×8 patches."""
    tokenizer = _tokenizer(answers)
    ids = {text: tokenizer.convert_tokens_to_ids(text) for text in SPECIAL}
    config = LlavaOnevisionConfig(
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "patch_size": PATCH,
            "image_size": SIDE,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "vision_use_head": False,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer) + 3,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
        },
        image_token_index=ids["<image>"],
        video_token_index=ids["<video>"],
        image_grid_pinpoints=[[SIDE, SIDE], [SIDE, 2 * SIDE]],
    )
    torch.manual_seed(0)
    model = LlavaOnevisionForConditionalGeneration(config)
    redraw(model, seed=1)
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=[[SIDE, SIDE]]),
        tokenizer=tokenizer,
        video_processor=LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=(SIDE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


def write_qwen(folder: Path, demo: Path) -> Path:
    """Like the packaged Qwen2.5-VL, with random weights and a tokenizer that has the answers as tokens."""
    processor: Any = AutoProcessor.from_pretrained(demo)
    processor.tokenizer = AutoTokenizer.from_pretrained(demo)
    processor.tokenizer.add_tokens(list(ANSWERS))
    processor.save_pretrained(folder)
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(AutoConfig.from_pretrained(demo))
    redraw(model, seed=2)
    model.save_pretrained(folder)
    return folder


# What Qwen3-VL's own template writes for texts and images.
QWEN3_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_reranker(folder: Path) -> Path:
    """A Qwen3-VL whose tokenizer has the answers as tokens."""
    save_tiny_qwen3_vl(folder)
    processor: Any = AutoProcessor.from_pretrained(folder)
    processor.tokenizer.add_tokens(["yes", "no"])
    processor.chat_template = QWEN3_TEMPLATE
    processor.save_pretrained(folder)
    return folder


def write_blip(folder: Path) -> Path:
    """A BLIP matching model of two layers a tower that looks at 32×32 pixels in 8×8 patches."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789?.,"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(words)})
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(words), "encoder_hidden_size": 32, "max_position_embeddings": 96}
    config = BlipConfig(
        text_config=tower | text,
        vision_config=tower | {"image_size": SIDE, "patch_size": PATCH},
        projection_dim=16,
        image_text_hidden_size=16,
    )
    torch.manual_seed(0)
    model = BlipForImageTextRetrieval(config)
    redraw(model, seed=3)
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    BlipProcessor(BlipImageProcessor(size=size), tokenizer).save_pretrained(folder)
    return folder


def _tokenizer(answers: tuple[str, ...]) -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    bpe.train_from_iterator(["does this frame help to answer the following question"], trainer)
    bpe.add_tokens(list(answers))
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens={"image_token": "<image>", "video_token": "<video>"},
    )
