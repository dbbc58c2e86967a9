"""An image-text-to-text model of transformers and its processor, by hub name or folder.

Never a pickle, and no code from the hub.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, PreTrainedConfig

from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Candidates, Floats, Frames, Question
from strive_data.score.load_clip import LOAD_ERRORS, choose_device, first_line, from_hub, quiet
from strive_data.score.scorer import FrameScores, require_frames
from strive_data.score.windows import query_text

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# The ways a model may start its answer; which of them are one token depends on the tokenizer.
YES = ("yes", "Yes", "YES", " yes", " Yes", " YES")
NO = ("no", "No", "NO", " no", " No", " NO")
# Here an image costs five times a frame of a video, and positions just count: a prompt's
# beginning can be computed once and kept.
FRAMES_AS_VIDEOS = ("llava_onevision",)
HINT = "score.model takes an image-text-to-text model: a hub name or, without a network, a folder"


@dataclass(frozen=True, kw_only=True)
class PromptForm:
    """How a model is asked about one frame.

    `text` with {query} is the user's message, which the model's chat template wraps; with `image_mark`, the
    text that stands for the frame in it, it is the whole prompt. `yes` and `no` are the spellings of the
    answers that count.
    """

    text: str
    yes: tuple[str, ...] = YES
    no: tuple[str, ...] = NO
    image_mark: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class VlmModel:
    """A model in evaluation mode with its processor.

    `yes` and `no` int64: the ids of those spellings of `form` that are one token. `as_videos`: a frame is
    given as a video of one frame. `forward_names`: parameters of its forward pass. `reserved`: texts that the
    tokenizer reads as its own marks, not as text. `capacity` is the longest prompt in tokens.
    """

    name: str
    form: PromptForm
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


def load_vlm(settings: ScoreSettings, form: PromptForm) -> VlmModel:
    """Load an image-text-to-text model of transformers and its processor.

    Raises UsageError where there are none, weights are missing, the device is absent, the model cannot be
    asked in this form, or the tokenizer has no single tokens for yes and no.
    """
    device = choose_device(settings.device)
    model, processor = load_pretrained(AutoModelForImageTextToText, settings, HINT)
    _check_form(processor, form, settings.model)
    tokenizer = processor.tokenizer
    text_config = model.config.get_text_config()
    return VlmModel(
        name=short_name(settings.model),
        form=form,
        model=model.eval().to(device),
        processor=processor,
        device=device,
        dtype=DTYPES[settings.precision],
        yes=_single_tokens(tokenizer, form.yes, settings.model).to(device),
        no=_single_tokens(tokenizer, form.no, settings.model).to(device),
        as_videos=model.config.model_type in FRAMES_AS_VIDEOS,
        forward_names=frozenset(signature(model.forward).parameters),
        reserved=reserved_marks(processor),
        capacity=int(text_config.max_position_embeddings),
    )


def load_pretrained(kind: Any, settings: ScoreSettings, hint: str) -> tuple[Any, Any]:
    """(model, processor) of `score.model`; `kind` is a model class of transformers. Raises UsageError."""
    try:
        with quiet(), nullcontext() if Path(settings.model).exists() else from_hub(settings.model):
            config = AutoConfig.from_pretrained(settings.model, trust_remote_code=False)
            expected = getattr(kind, "config_class", None) or PreTrainedConfig
            if not isinstance(config, expected):
                raise UsageError(f"score: {settings.model} is a model of type {config.model_type}; {hint}")
            processor = AutoProcessor.from_pretrained(settings.model, trust_remote_code=False)
            model, info = kind.from_pretrained(
                settings.model,
                config=config,
                dtype=DTYPES[settings.precision],
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (*LOAD_ERRORS, ImportError) as error:
        raise UsageError(f"score: cannot load {settings.model}: {first_line(error)}; {hint}") from None
    _check_complete(settings.model, info, hint)
    return model, processor


def _check_form(processor: Any, form: PromptForm, name: str) -> None:
    tokenizer = getattr(processor, "tokenizer", None)
    template = tokenizer and (getattr(processor, "chat_template", None) or tokenizer.chat_template)
    if not template:
        raise UsageError(f"score: {name} has no chat template, so it cannot get a question; {HINT}")
    mark = getattr(processor, "image_token", "")
    if form.image_mark and mark != form.image_mark:
        raise UsageError(
            f"score: {name} marks an image by {mark!r}, expected {form.image_mark!r} as in the prompt of "
            "scorer qwen3-vl-reranker; use --scorer vlm"
        )


def _check_complete(name: str, info: dict[str, Any], hint: str) -> None:
    """transformers fills missing weights with random ones, and only warns."""
    missing = sorted({*map(str, info["missing_keys"]), *map(str, info["mismatched_keys"])})
    if missing:
        raise UsageError(f"score: {name} lacks {len(missing)} weights, the first is {missing[0]}; {hint}")


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


def reserved_marks(processor: Any) -> tuple[str, ...]:
    """Texts that the tokenizer reads as its own marks, wherever they stand."""
    added = processor.tokenizer.added_tokens_decoder.values()
    marks = {str(token) for token in added if token.special} | set(processor.tokenizer.all_special_tokens)
    marks |= {str(getattr(processor, name, "")) for name in ("image_token", "video_token")}
    return tuple(sorted(marks - {""}))


def short_name(name: str) -> str:
    """Name that is the same wherever a folder lies."""
    return Path(name).name if Path(name).is_dir() else name


FRAMES_A_BATCH = 32
Inputs = dict[str, torch.Tensor]


class PromptScorer:
    """A scorer whose model reads the whole query with a frame; a question gets the same bits alone and among
    others. Subclasses have `_tokens` of a question and `_read`, its scores for a batch of frames."""

    name: str
    _settings: ScoreSettings
    _reserved: tuple[str, ...]

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        """One FrameScores a question; SampleError in place of a question that holds a mark of the model's
        tokenizer, is too long for it, or gives scores that are not finite."""
        frames, size = candidates.frames, self._settings.batch_size or FRAMES_A_BATCH
        require_frames(frames)
        prompts = [self._prompt(question, frames) for question in questions]
        usable = [prompt for prompt in prompts if not isinstance(prompt, SampleError)]
        starts = range(0, len(frames) if usable else 0, size)
        parts = [self._read(frames[start : start + size], usable) for start in starts]
        rows = iter(np.concatenate(parts, axis=1) if parts else ())
        return [prompt if isinstance(prompt, SampleError) else self._result(next(rows)) for prompt in prompts]

    def _prompt(self, question: Question, frames: Frames) -> Inputs | SampleError:
        query = query_text(question, self._settings.query)
        for mark in self._reserved:
            if mark in query:
                what = f"{self.name}: the question holds {mark!r}, a mark of the model's own tokenizer"
                return SampleError(FailureKind.SCORE_FAILED, what)
        return self._tokens(query, frames)

    def _tokens(self, query: str, frames: Frames) -> Inputs | SampleError:
        """The tokens [1, L], the same for each frame of the video."""
        raise NotImplementedError

    def _read(self, frames: Frames, prompts: Sequence[Inputs]) -> Floats:
        """Scores float32 [questions, B] of a batch of frames."""
        raise NotImplementedError

    def _result(self, scores: Floats) -> FrameScores | SampleError:
        if not np.isfinite(scores).all():
            return SampleError(FailureKind.SCORE_FAILED, f"{self.name}: scores are not finite")
        return FrameScores(scores=scores, windows=1, scorer=self.name)
