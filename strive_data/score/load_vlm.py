"""Any image-text-to-text model of transformers, by hub name or folder; code from the hub is never run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from strive_data.config import ScoreSettings
from strive_data.errors import UsageError
from strive_data.score.load_clip import LOAD_ERRORS, choose_device, first_line, quiet

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# As a model may begin its answer; which of them are one token depends on the tokenizer.
YES = ("yes", "Yes", "YES", " yes", " Yes", " YES")
NO = ("no", "No", "NO", " no", " No", " NO")
# Here an image costs five times a frame of a video (DESIGN.md 7.9), and positions just count: a prompt's
# beginning can be computed once and kept.
FRAMES_AS_VIDEOS = ("llava_onevision",)
HINT = "score.model takes an image-text-to-text model: a hub name or, without a network, a folder"


@dataclass(frozen=True, kw_only=True, eq=False)
class VlmModel:
    """A model in evaluation mode with its processor.

    `yes` and `no` int64: the ids of all spellings that are one token. `as_videos`: a frame is given as a
    video of one frame. `forward_names`: parameters of its forward pass. `reserved`: texts that the tokenizer
    reads as its own marks, not as text. `capacity` is the longest prompt in tokens.
    """

    name: str
    model: Any
    processor: Any
    device: torch.device
    dtype: torch.dtype
    yes: torch.Tensor
    no: torch.Tensor
    as_videos: bool
    forward_names: frozenset[str]
    reserved: tuple[str, ...]
    capacity: int


def load_vlm(settings: ScoreSettings) -> VlmModel:
    """Load model and processor.

    Raises UsageError where there are none, weights are missing, the device is absent, or the tokenizer has no
    single tokens for yes and no.
    """
    device, dtype = choose_device(settings.device), DTYPES[settings.precision]
    try:
        with quiet():
            # First of all: without a network the hub's client retries for each file that is asked for.
            config = AutoConfig.from_pretrained(settings.model, trust_remote_code=False)
            processor = AutoProcessor.from_pretrained(settings.model, trust_remote_code=False)
            model, info = AutoModelForImageTextToText.from_pretrained(
                settings.model,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (*LOAD_ERRORS, ImportError) as error:
        raise UsageError(f"score: cannot load {settings.model}: {first_line(error)}; {HINT}") from error
    _check_complete(settings.model, info)
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or not (getattr(processor, "chat_template", None) or tokenizer.chat_template):
        raise UsageError(f"score: {settings.model} has no chat template, so it cannot be asked; {HINT}")
    text_config = model.config.get_text_config()
    return VlmModel(
        name=_short_name(settings.model),
        model=model.eval().to(device),
        processor=processor,
        device=device,
        dtype=dtype,
        yes=_single_tokens(tokenizer, YES, settings.model).to(device),
        no=_single_tokens(tokenizer, NO, settings.model).to(device),
        as_videos=model.config.model_type in FRAMES_AS_VIDEOS,
        forward_names=frozenset(signature(model.forward).parameters),
        reserved=_reserved(processor),
        capacity=int(text_config.max_position_embeddings),
    )


def _check_complete(name: str, info: dict[str, Any]) -> None:
    """transformers fills missing weights with random ones, and only warns."""
    lost = sorted({*map(str, info["missing_keys"]), *map(str, info["mismatched_keys"])})
    if lost:
        raise UsageError(f"score: {name} lacks {len(lost)} weights, the first is {lost[0]}; {HINT}")


def _single_tokens(tokenizer: Any, spellings: Iterable[str], name: str) -> torch.Tensor:
    """Distinct ids of the spellings that are one known token each."""
    encoded = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in spellings]
    ids = sorted({ids[0] for ids in encoded if len(ids) == 1 and ids[0] != tokenizer.unk_token_id})
    if not ids:
        tried = ", ".join(repr(text) for text in spellings)
        raise UsageError(
            f"score: the tokenizer of {name} has none of {tried} as one token, so its yes/no margin cannot "
            "be read; choose another score.model"
        )
    return torch.tensor(ids)


def _reserved(processor: Any) -> tuple[str, ...]:
    added = processor.tokenizer.added_tokens_decoder.values()
    marks = {str(token) for token in added if token.special} | set(processor.tokenizer.all_special_tokens)
    marks |= {str(getattr(processor, name, "")) for name in ("image_token", "video_token")}
    return tuple(sorted(marks - {""}))


def _short_name(name: str) -> str:
    """Name that is the same wherever a folder lies."""
    return Path(name).name if Path(name).is_dir() else name
