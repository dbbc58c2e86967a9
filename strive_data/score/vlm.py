"""Does this frame help to answer the question? s_i = logit(yes) - logit(no).

One frame a prompt, in one of two forms: FRAME_QUESTION for any model, the frame first and the question after
it; RERANK, in which Qwen3-VL-Reranker was trained. Where a model reads several spellings of an answer as one
token each, its logit is their log-sum-exp: s_i = log P(yes) - log P(no) at the last position.
What does not depend on the question is computed once for all questions of a video: the keys and values of
the prompt up to the end of the frame where positions just count (LLaVA-OneVision), else the image's features
where transformers lets us hand them in, else nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Floats, Frames
from strive_data.score.load_vlm import Inputs, PromptScorer

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
    """Scorer with any image-text-to-text model, margins in nats. All frames of a video have one size, so that
    no prompt of a batch is padded.

    `yes` and `no` int64: the ids of those spellings of `form` that are one token. `as_videos`: a frame is
    given as a video of one frame. `forward_names`: parameters of the model's forward pass. Raises UsageError
    too where the model cannot be asked in this form, or its tokenizer has no single tokens for yes and no.
    """

    def __init__(
        self, settings: ScoreSettings, *, threads: int | None = None, form: PromptForm = FRAME_QUESTION
    ) -> None:
        self.form = form
        super().__init__(settings, AutoModelForImageTextToText, HINT, threads)
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

    def _tokens(self, query: str, frames: Frames) -> Inputs | SampleError:
        tokens, _ = split_text(encode(self, query, frames[:1]))
        length = tokens["input_ids"].shape[1]
        if length > self.capacity:
            what = f"{self.name}: a prompt of {length} tokens, the model takes {self.capacity}"
            return SampleError(FailureKind.SCORE_FAILED, what)
        return tokens

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
