"""Any open_clip model, from a name and a tag, a local checkpoint, or a local folder; never a pickle."""

from __future__ import annotations

import logging
import pickle
import ssl
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import open_clip
import torch
from huggingface_hub import constants as hub
from PIL import Image
from safetensors import SafetensorError

from strive_data.common.console import echo
from strive_data.common.text import did_you_mean
from strive_data.config import ScoreSettings
from strive_data.errors import UsageError
from strive_data.score.scorer import OFFLINE_HINT, SCHEMAS, CountTokens

# What torch, safetensors and open_clip were seen to raise for a failing download or a file of something else.
LOAD_ERRORS = (
    *(RuntimeError, ValueError, TypeError, AttributeError, LookupError, EOFError, OSError, AssertionError),
    *(pickle.UnpicklingError, SafetensorError),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipModel:
    """A model in evaluation mode with its own transform and tokenizer.

    `count_tokens` counts without special tokens; `capacity` is how many of those the text encoder takes.
    """

    name: str
    model: Any
    transform: Callable[[Image.Image], torch.Tensor]
    tokenize: Callable[[list[str]], torch.Tensor]
    count_tokens: CountTokens
    capacity: int
    device: torch.device
    dtype: torch.dtype


def load_clip(settings: ScoreSettings) -> ClipModel:
    """Load model, transform and tokenizer; UsageError says which of name, weights and device is at fault."""
    device = choose_device(settings.device)
    check_names(settings.model, settings.pretrained)
    by_schema = settings.model.startswith(SCHEMAS)
    pretrained = None if by_schema else settings.pretrained
    tag_cfg = {} if by_schema else open_clip.get_pretrained_cfg(settings.model, settings.pretrained)
    # With a local checkpoint, too, the tokenizer of SigLIP2 comes from the hub.
    text = {} if by_schema else (open_clip.get_model_config(settings.model) or {}).get("text_cfg", {})
    local = settings.model.startswith("local-dir:") or not (
        by_schema or tag_cfg or "hf_tokenizer_name" in text
    )
    try:
        with quiet(), nullcontext() if local else from_hub(f"{settings.model} {pretrained or ''}".rstrip()):
            model, _, transform = open_clip.create_model_and_transforms(
                settings.model,
                pretrained=pretrained,
                precision=settings.precision,
                device=device,
                # With the activation of another tag open_clip only warns, and scores are wrong.
                force_quick_gelu=bool(tag_cfg and tag_cfg.get("quick_gelu")),
                require_pretrained=True,
                weights_only=True,
            )
            tokenizer = open_clip.get_tokenizer(settings.model)
    except LOAD_ERRORS as error:
        where = settings.model if by_schema else f"{settings.model} with pretrained={settings.pretrained}"
        raise UsageError(f"score: cannot load {where}: {first_line(error)}; {OFFLINE_HINT}") from None
    count, capacity = token_counter(tokenizer)
    return ClipModel(
        name=_short_name(settings),
        model=model.eval(),
        transform=transform,
        tokenize=tokenizer,
        count_tokens=count,
        capacity=capacity,
        device=device,
        dtype=open_clip.get_input_dtype(settings.precision) or torch.float32,
    )


@contextmanager
def from_hub(name: str) -> Iterator[None]:
    """Say on standard error what is loaded from where; a hub that does not answer is not asked again.

    One request, which waits for HF_HUB_ETAG_TIMEOUT (10 s), shows whether the hub can be reached. Its client
    would try each file of a model six times, some two minutes in all. Files of its cache are read then.
    """
    echo(f"score: loading {name} from {hub.ENDPOINT} or its cache {hub.HF_HUB_CACHE}", err=True)
    offline = hub.HF_HUB_OFFLINE
    if not offline and not _answers(hub.ENDPOINT, hub.HF_HUB_ETAG_TIMEOUT):
        echo(f"score: {hub.ENDPOINT} does not answer; only its cache is read", err=True)
        hub.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = offline


def _answers(url: str, seconds: float) -> bool:
    """Whether anything answers at a URL, be it with an error."""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=seconds):
            return True
    except HTTPError:
        return True
    except (OSError, HTTPException) as error:
        return isinstance(getattr(error, "reason", None), ssl.SSLError)


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing logged: open_clip and the hub's client print each retry; what matters is in the exception."""
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one; UsageError for a device that torch does not know or have."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"score.device: got {name!r}, expected auto, cpu or cuda[:number]") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"score.device: got {name!r}, but torch sees no GPU here; use cpu or auto")
    return device


def check_names(model: str, pretrained: str) -> None:
    """UsageError for a model name or weights that open_clip cannot have, before anything is loaded."""
    for schema in SCHEMAS:
        if model.startswith(schema):
            folder = Path(model.removeprefix(schema))
            if schema == "local-dir:" and not (folder / "open_clip_config.json").is_file():
                raise UsageError(f"score.model: {folder} is no open_clip folder (no open_clip_config.json)")
            return
    known = open_clip.list_models()
    if model not in known:
        hint = did_you_mean(model, known, most=3) or f"; open_clip has {len(known)} models"
        raise UsageError(f"score.model: got {model!r}, which open_clip does not know{hint}")
    tags = open_clip.list_pretrained_tags_by_model(model)
    if pretrained in tags or Path(pretrained).is_file():
        return
    raise UsageError(
        f"score.pretrained: got {pretrained!r}, which is neither a file nor a tag of {model}; "
        f"tags: {', '.join(tags) or 'none'}; {OFFLINE_HINT}"
    )


def token_counter(tokenizer: Any) -> tuple[CountTokens, int]:
    """How to count the tokens of a text, and how many fit, special tokens apart."""
    clean = tokenizer.clean_fn
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return lambda text: len(tokenizer.encode(clean(text))), tokenizer.context_length - 2
    inner = tokenizer.tokenizer
    # open_clip's "clips" mode puts a begin and an end token itself.
    special = 2 if tokenizer.tokenizer_mode == "clips" else inner.num_special_tokens_to_add()
    return (
        lambda text: len(inner(clean(text), add_special_tokens=False).input_ids),
        tokenizer.context_length - special,
    )


def _short_name(settings: ScoreSettings) -> str:
    """Name that is the same wherever the files lie."""
    if settings.model.startswith("local-dir:"):
        return Path(settings.model.removeprefix("local-dir:")).name
    weights = Path(settings.pretrained)
    return f"{settings.model}/{weights.name if weights.is_file() else settings.pretrained}"


def first_line(error: BaseException) -> str:
    """What an exception says, in one short line."""
    lines = str(error).strip().splitlines()
    return textwrap.shorten(lines[0], 240, placeholder=" …") if lines else type(error).__name__
