"""Ask a model of transformers about each frame: `VlmScorer` for yes/no margins, `BlipScorer` for P(match).

Models come by hub name or folder: no pickle, and no code from the hub. `PromptScorer` has what the two share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    BlipForImageTextRetrieval,
    PreTrainedConfig,
)

from strive_data.common.hub import from_hub
from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Candidates, Floats, Frames, Question
from strive_data.score.clip import LOAD_ERRORS, choose_device, first_line, quiet
from strive_data.score.scorer import FrameScores, query_text, require_frames

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

    def __init__(self, settings: ScoreSettings, kind: Any, hint: str) -> None:
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
        tokens = self._tokens(query, frames)
        length = tokens["input_ids"].shape[1]
        if length > self.capacity:
            what = f"{self.name}: a prompt of {length} tokens, the model takes {self.capacity}"
            return SampleError(FailureKind.SCORE_FAILED, what)
        return tokens

    def _tokens(self, query: str, frames: Frames) -> Inputs:
        """The prompt's tokens [1, L], the same for each frame of the video."""
        raise NotImplementedError

    def _read(self, frames: Frames, prompts: Sequence[Inputs]) -> Floats:
        """Scores float32 [questions, B] of a batch of frames."""
        raise NotImplementedError

    def _result(self, scores: Floats) -> FrameScores | SampleError:
        if not np.isfinite(scores).all():
            return SampleError(FailureKind.SCORE_FAILED, f"{self.name}: scores are not finite")
        return FrameScores(scores=scores, windows=1, scorer=self.name)


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


FRAME_QUESTION = PromptForm(
    text="Does this frame help to answer the following question?\n{query}\nAnswer yes or no."
)
# The prompt of github.com/QwenLM/Qwen3-VL-Embedding (src/models/qwen3_vl_reranker.py), whose score is the
# sigmoid of ours. The frame comes after the query, so only its features are computed once.
RERANK = PromptForm(
    text="<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the "
    'Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: Given a search query, retrieve relevant candidates that answer the query."
    "<Query>:{query}\n<Document>:<|vision_start|><|image_pad|><|vision_end|><|im_end|>\n"
    "<|im_start|>assistant\n",
    yes=("yes",),
    no=("no",),
    image_mark="<|image_pad|>",
)

Ask = Callable[[Inputs], torch.Tensor]
"""Tokens [B, L] of whole prompts, alike but for the frame → logits [B, V] of the next token."""


class VlmScorer(PromptScorer):
    """Does this frame help to answer the question? s_i = logit(yes) - logit(no), in nats.

    One frame a prompt, in one of two forms: FRAME_QUESTION for any model, the frame first and the question
    after it; RERANK, in which Qwen3-VL-Reranker was trained. Where a model reads several spellings of an
    answer as one token each, its logit is their log-sum-exp. What does not depend on the question is computed
    once for all questions of a video: the keys and values of the prompt up to the end of the frame where
    positions just count (LLaVA-OneVision), else the image's features where transformers lets us hand them in,
    else nothing. All frames of a video have one size, so that no prompt of a batch is padded.

    `yes` and `no` int64: the ids of those spellings of `form` that are one token. `as_videos`: a frame is
    given as a video of one frame. `forward_names`: parameters of the model's forward pass. Raises UsageError
    too where the model cannot be asked in this form, or its tokenizer has no single tokens for yes and no.
    """

    def __init__(self, settings: ScoreSettings, form: PromptForm = FRAME_QUESTION) -> None:
        self.form = form
        super().__init__(settings, AutoModelForImageTextToText, HINT)
        self.yes, self.no = self._single_tokens(form.yes), self._single_tokens(form.no)
        self.as_videos = self.model.config.model_type in FRAMES_AS_VIDEOS
        self.forward_names = frozenset(signature(self.model.forward).parameters)

    def _check_processor(self) -> None:
        name, tokenizer = self._settings.model, getattr(self.processor, "tokenizer", None)
        template = tokenizer and (getattr(self.processor, "chat_template", None) or tokenizer.chat_template)
        if not template:
            raise UsageError(f"score: {name} has no chat template, so it cannot get a question; {HINT}")
        mark, expected = getattr(self.processor, "image_token", ""), self.form.image_mark
        if expected and mark != expected:
            raise UsageError(
                f"score: {name} marks an image by {mark!r}, expected {expected!r} as in the prompt of "
                "scorer qwen3-vl-reranker; use --scorer vlm"
            )

    def _single_tokens(self, spellings: tuple[str, ...]) -> torch.Tensor:
        """Distinct ids of the spellings that are one known token each."""
        tokenizer = self.processor.tokenizer
        encoded = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in spellings]
        ids = sorted({ids[0] for ids in encoded if len(ids) == 1 and ids[0] != tokenizer.unk_token_id})
        if not ids:
            tried = ", ".join(repr(text) for text in spellings)
            raise UsageError(
                f"score: the tokenizer of {self._settings.model} has none of {tried} as one token, so its "
                "yes/no margin cannot be read; choose another score.model"
            )
        return torch.tensor(ids).to(self.device)

    def _tokens(self, query: str, frames: Frames) -> Inputs:
        return split_text(encode(self, query, frames[:1]))[0]

    def _read(self, frames: Frames, prompts: Sequence[Inputs]) -> Floats:
        with torch.inference_mode():
            inputs = encode(self, "", frames)
            ask = kept_prefix(self, inputs) if self.as_videos else kept_features(self, inputs)
            repeated = (
                {name: value.expand(len(frames), -1) for name, value in prompt.items()} for prompt in prompts
            )
            rows = [ask(prompt).float() for prompt in repeated]
            margins = [row[:, self.yes].logsumexp(1) - row[:, self.no].logsumexp(1) for row in rows]
        return torch.stack(margins).cpu().numpy()


def prompt_of(vlm: VlmScorer, query: str) -> str:
    """The prompt that asks the model about one frame."""
    text = vlm.form.text.format(query=query)
    if vlm.form.image_mark:
        return text
    content = [{"type": "video" if vlm.as_videos else "image"}, {"type": "text", "text": text}]
    prompt: str = vlm.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    return prompt


def encode(vlm: VlmScorer, query: str, frames: Frames) -> Inputs:
    """What the model's processor makes of the prompt for each frame uint8 [B, H, W, 3], on the device."""
    prompt = prompt_of(vlm, query)
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


def plain(vlm: VlmScorer, inputs: Inputs) -> Ask:
    """The whole forward pass for each question."""
    _, shown = split_text(inputs)
    return lambda text: _next_logits(vlm, **text, **shown, use_cache=False)


def kept_features(vlm: VlmScorer, inputs: Inputs) -> Ask:
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


def kept_prefix(vlm: VlmScorer, inputs: Inputs) -> Ask:
    """Keys and values up to the end of the frame once; only for models whose positions just count."""
    text, shown = split_text(inputs)
    ids_BL = text["input_ids"]
    length = int((ids_BL[0] == vlm.processor.video_token_id).nonzero()[-1]) + 1
    prefix = vlm.model(input_ids=ids_BL[:, :length], **shown, use_cache=True, **_last(vlm))
    # Each question gets its own copy: a forward pass grows the cache that it is given.
    return lambda text: _next_logits(
        vlm, input_ids=text["input_ids"][:, length:], past_key_values=deepcopy(prefix.past_key_values)
    )


def _next_logits(vlm: VlmScorer, **inputs: Any) -> torch.Tensor:
    logits: torch.Tensor = vlm.model(**inputs, **_last(vlm)).logits
    return logits[:, -1]


def _last(vlm: VlmScorer) -> dict[str, int]:
    """Only the last position's logits are computed, where the model can leave out the others."""
    return {"logits_to_keep": 1} if "logits_to_keep" in vlm.forward_names else {}


BLIP_HINT = (
    "score.model takes a BLIP matching model (BlipForImageTextRetrieval): a hub name or, without a network, "
    "a folder"
)
MATCH = 1  # the head's second output


class BlipScorer(PromptScorer):
    """Does the text match the frame? s_i = P(match) of BLIP's matching head, as AKS and FOCUS score; in [0,
    1].

    The whole query is read (LAVIS, and with it AKS, cuts it at 35 tokens). A frame is seen once for all
    questions of a video; the text encoder then attends to it for each question.
    """

    def __init__(self, settings: ScoreSettings) -> None:
        super().__init__(settings, BlipForImageTextRetrieval, BLIP_HINT)

    def _tokens(self, query: str, frames: Frames) -> Inputs:
        made = self.processor.tokenizer(query, return_tensors="pt")
        return {name: made[name].to(self.device) for name in ("input_ids", "attention_mask")}

    def _read(self, frames: Frames, prompts: Sequence[Inputs]) -> Floats:
        images = [Image.fromarray(frame) for frame in frames]
        pixels = self.processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            pixels = pixels.to(self.device, self.dtype)
            seen_BPD = self.model.vision_model(pixel_values=pixels).last_hidden_state
            rows = [self._logits(text, seen_BPD).float().softmax(dim=1)[:, MATCH] for text in prompts]
        return torch.stack(rows).cpu().numpy()

    def _logits(self, text: Inputs, seen_BPD: torch.Tensor) -> torch.Tensor:
        """Logits [B, 2]: the head reads the text's first token, which attended to the frame."""
        read: Any = self.model.text_encoder(
            **{name: value.expand(len(seen_BPD), -1) for name, value in text.items()},
            encoder_hidden_states=seen_BPD,
            encoder_attention_mask=torch.ones(seen_BPD.shape[:2], dtype=torch.long, device=self.device),
        )
        logits: torch.Tensor = self.model.itm_head(read.last_hidden_state[:, 0])
        return logits
