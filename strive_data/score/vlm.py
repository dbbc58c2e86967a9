"""Does this frame help to answer the question? s_i = logit(yes) - logit(no) (METHOD.md section 3).

One frame a prompt, the frame first and the question after it. Where a model reads several spellings of an
answer as one token each, its logit is their log-sum-exp: s_i = log P(yes) - log P(no) at the last position.
What does not depend on the question is computed once for all questions of a video: the keys and values of
the prompt up to the end of the frame where positions just count (LLaVA-OneVision), else the image's features
where transformers lets us hand them in, else nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Candidates, Floats, Frames, Question
from strive_data.score.load_clip import LOAD_ERRORS, choose_device, first_line, quiet
from strive_data.score.scorer import FrameScores
from strive_data.score.windows import query_text

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# The ways a model may start its answer; which of them are one token depends on the tokenizer.
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
    """Load an image-text-to-text model of transformers and its processor, by hub name or folder.

    Code from the hub is never run.

    Raises UsageError where there are none, weights are missing, the device is absent, or the tokenizer has no
    single tokens for yes and no.
    """
    device, dtype = choose_device(settings.device), DTYPES[settings.precision]
    try:
        with quiet():
            # First of all: without a network the hub's client retries for each file that is requested.
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
        raise UsageError(f"score: {settings.model} has no chat template, so it cannot get a question; {HINT}")
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
    missing = sorted({*map(str, info["missing_keys"]), *map(str, info["mismatched_keys"])})
    if missing:
        raise UsageError(f"score: {name} lacks {len(missing)} weights, the first is {missing[0]}; {HINT}")


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


ASK = "Does this frame help to answer the following question?\n{query}\nAnswer yes or no."

FRAMES_A_BATCH = 32

Inputs = dict[str, torch.Tensor]
Ask = Callable[[Inputs], torch.Tensor]
"""Tokens [B, L] of whole prompts, alike but for the frame → logits [B, V] of the next token."""


class VlmScorer:
    """Scorer with any image-text-to-text model. All frames of a video have one size, so that no prompt of a
    batch is padded; a question gets the same bits alone and among others."""

    def __init__(self, settings: ScoreSettings, *, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._settings = settings
        self._vlm: VlmModel = load_vlm(settings)
        self.name = self._vlm.name

    def score(self, candidates: Candidates, questions: Sequence[Question]) -> list[FrameScores | SampleError]:
        """One FrameScores a question, margins in nats; SampleError in place of a question that holds a mark
        of the model's tokenizer, makes too long a prompt, or gives margins that are not finite."""
        frames, size = candidates.frames, self._settings.batch_size or FRAMES_A_BATCH
        if frames.ndim != 4 or frames.shape[3] != 3 or len(frames) == 0:
            message = f"frames of shape {frames.shape}, expected [N, H, W, 3]"
            raise SampleError(FailureKind.SCORE_FAILED, message)
        prompts = [self._prompt(question, frames) for question in questions]
        usable = [prompt for prompt in prompts if not isinstance(prompt, SampleError)]
        starts = range(0, len(frames) if usable else 0, size)
        parts = [self._margins(frames[start : start + size], usable) for start in starts]
        margins = iter(np.concatenate(parts, axis=1) if parts else ())
        return [
            prompt if isinstance(prompt, SampleError) else self._result(next(margins)) for prompt in prompts
        ]

    def _prompt(self, question: Question, frames: Frames) -> Inputs | SampleError:
        """The tokens [1, L], the same for each frame of the video."""
        text = ASK.format(query=query_text(question, self._settings.query))
        for mark in self._vlm.reserved:
            if mark in text:
                what = f"{self.name}: the question holds {mark!r}, a mark of the model's own tokenizer"
                return SampleError(FailureKind.SCORE_FAILED, what)
        tokens, _ = split_text(encode(self._vlm, text, frames[:1]))
        length = tokens["input_ids"].shape[1]
        if length > self._vlm.capacity:
            what = f"{self.name}: a prompt of {length} tokens, the model takes {self._vlm.capacity}"
            return SampleError(FailureKind.SCORE_FAILED, what)
        return tokens

    def _margins(self, frames: Frames, prompts: Sequence[Inputs]) -> Floats:
        """Margins float32 [questions, B] of a batch of frames."""
        vlm = self._vlm
        with torch.inference_mode():
            inputs = encode(vlm, ASK.format(query=""), frames)
            ask = kept_prefix(vlm, inputs) if vlm.as_videos else kept_features(vlm, inputs)
            rows = [ask(_repeat(prompt, len(frames))).float() for prompt in prompts]
            margins = [row[:, vlm.yes].logsumexp(1) - row[:, vlm.no].logsumexp(1) for row in rows]
        return torch.stack(margins).cpu().numpy()

    def _result(self, scores: Floats) -> FrameScores | SampleError:
        if not np.isfinite(scores).all():
            return SampleError(FailureKind.SCORE_FAILED, f"{self.name}: scores are not finite")
        return FrameScores(scores=scores, windows=1, scorer=self.name)


def encode(vlm: VlmModel, text: str, frames: Frames) -> Inputs:
    """What the model's processor makes of a prompt for each frame uint8 [B, H, W, 3], on the device."""
    kind = "video" if vlm.as_videos else "image"
    content = [{"type": kind}, {"type": "text", "text": text}]
    prompt = vlm.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    begin = vlm.processor.tokenizer.bos_token
    shown = (
        {"videos": list(torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)[:, None])}
        if vlm.as_videos
        else {"images": [[Image.fromarray(frame)] for frame in frames]}
    )
    made = vlm.processor(
        text=[prompt] * len(frames),
        # A template that writes the begin token itself must not get a second one.
        add_special_tokens=not (begin and prompt.startswith(begin)),
        return_tensors="pt",
        **shown,
    )
    return {
        name: value.to(vlm.device, vlm.dtype if value.is_floating_point() else value.dtype)
        for name, value in made.items()
        if isinstance(value, torch.Tensor)
    }


def split_text(inputs: Inputs) -> tuple[Inputs, Inputs]:
    """What belongs to the tokens [B, L], and what belongs to the frames."""
    shape = inputs["input_ids"].shape
    text = {name for name, value in inputs.items() if value.shape == shape and "pixel" not in name}
    return {name: inputs[name] for name in text}, {name: inputs[name] for name in inputs.keys() - text}


def plain(vlm: VlmModel, inputs: Inputs) -> Ask:
    """The whole forward pass for each question."""
    _, shown = split_text(inputs)
    return lambda text: _next_logits(vlm, **text, **shown, use_cache=False)


def kept_features(vlm: VlmModel, inputs: Inputs) -> Ask:
    """The vision tower once; `plain` where the model cannot be handed its output (transformers 5.17)."""
    if "mm_encoder_outputs" not in vlm.forward_names or "pixel_values" not in inputs:
        return plain(vlm, inputs)
    _, shown = split_text(inputs)
    names = signature(vlm.model.get_image_features).parameters
    seen = {name: value for name, value in shown.items() if name in names}
    features = vlm.model.get_image_features(**seen, return_dict=True)
    del shown["pixel_values"]
    return lambda text: _next_logits(
        vlm, **text, **shown, mm_encoder_outputs={"image": features}, use_cache=False
    )


def kept_prefix(vlm: VlmModel, inputs: Inputs) -> Ask:
    """Keys and values up to the end of the frame once; only for models whose positions just count."""
    text, shown = split_text(inputs)
    ids_BL = text["input_ids"]
    length = int((ids_BL[0] == vlm.processor.video_token_id).nonzero()[-1]) + 1
    prefix = vlm.model(input_ids=ids_BL[:, :length], **shown, use_cache=True, **_last(vlm))
    # Each question gets its own copy: a forward pass grows the cache that it is given.
    return lambda text: _next_logits(
        vlm, input_ids=text["input_ids"][:, length:], past_key_values=deepcopy(prefix.past_key_values)
    )


def _repeat(tokens: Inputs, rows: int) -> Inputs:
    return {name: value.expand(rows, -1) for name, value in tokens.items()}


def _next_logits(vlm: VlmModel, **inputs: Any) -> torch.Tensor:
    logits: torch.Tensor = vlm.model(**inputs, **_last(vlm)).logits
    return logits[:, -1]


def _last(vlm: VlmModel) -> dict[str, int]:
    """Only the last position's logits are computed, where the model can leave out the others."""
    return {"logits_to_keep": 1} if "logits_to_keep" in vlm.forward_names else {}
