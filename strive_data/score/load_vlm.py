"""A model of transformers and its processor, by hub name or folder: no pickle, and no code from the hub."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoProcessor, PreTrainedConfig

from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Candidates, Floats, Frames, Question
from strive_data.score.load_clip import LOAD_ERRORS, choose_device, first_line, from_hub, quiet
from strive_data.score.scorer import FrameScores, require_frames
from strive_data.score.windows import query_text

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
    # transformers fills missing weights with random ones, and only warns.
    if missing := sorted({*map(str, info["missing_keys"]), *map(str, info["mismatched_keys"])}):
        raise UsageError(
            f"score: {settings.model} lacks {len(missing)} weights, the first is {missing[0]}; {hint}"
        )
    return model, processor


def reserved_marks(processor: Any) -> tuple[str, ...]:
    """Texts that the tokenizer reads as its own marks, wherever they stand."""
    added = processor.tokenizer.added_tokens_decoder.values()
    marks = {str(token) for token in added if token.special} | set(processor.tokenizer.all_special_tokens)
    marks |= {str(getattr(processor, name, "")) for name in ("image_token", "video_token")}
    return tuple(sorted(marks - {""}))


FRAMES_A_BATCH = 32
Inputs = dict[str, torch.Tensor]


class PromptScorer:
    """A scorer whose model reads the whole query with a frame; a question gets the same bits alone and among
    others. Subclasses have `_tokens` of a question and `_read`, its scores for a batch of frames.

    `reserved`: texts that the tokenizer reads as its own marks, not as text. `capacity` is the longest prompt
    in tokens. Raises UsageError as `load_pretrained`, and for a device that is absent.
    """

    def __init__(self, settings: ScoreSettings, kind: Any, hint: str, threads: int | None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._settings = settings
        self.device, self.dtype = choose_device(settings.device), DTYPES[settings.precision]
        model, self.processor = load_pretrained(kind, settings, hint)
        self._check_processor()
        self.model: Any = model.eval().to(self.device)
        self.reserved = reserved_marks(self.processor)
        self.capacity = int(model.config.get_text_config().max_position_embeddings)
        # The same wherever a folder lies.
        self.name = Path(settings.model).name if Path(settings.model).is_dir() else settings.model

    def _check_processor(self) -> None:
        """Raise UsageError for a processor by which the model cannot be asked."""

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
        for mark in self.reserved:
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
