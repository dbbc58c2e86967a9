"""Does the text match the frame? s_i = P(match) of BLIP's image-text matching head, as AKS and FOCUS score.

The whole query is read (LAVIS, and with it AKS, cuts it at 35 tokens). A frame is seen once for all questions
of a video; the text encoder then attends to it for each question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import BlipForImageTextRetrieval

from strive_data.config import ScoreSettings
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Floats, Frames
from strive_data.score.load_clip import choose_device
from strive_data.score.load_vlm import (
    DTYPES,
    Inputs,
    PromptScorer,
    load_pretrained,
    reserved_marks,
    short_name,
)

HINT = (
    "score.model takes a BLIP matching model (BlipForImageTextRetrieval): a hub name or, without a network, "
    "a folder"
)
MATCH = 1  # the head's second output


class BlipScorer(PromptScorer):
    """Scorer with a BLIP matching model; probabilities in [0, 1]."""

    def __init__(self, settings: ScoreSettings, *, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._settings = settings
        self._device, self._dtype = choose_device(settings.device), DTYPES[settings.precision]
        model, self._processor = load_pretrained(BlipForImageTextRetrieval, settings, HINT)
        self._model: Any = model.eval().to(self._device)
        self._reserved = reserved_marks(self._processor)
        self._capacity = int(self._model.config.text_config.max_position_embeddings)
        self.name = short_name(settings.model)

    def _tokens(self, query: str, frames: Frames) -> Inputs | SampleError:
        made = self._processor.tokenizer(query, return_tensors="pt")
        if (length := made["input_ids"].shape[1]) > self._capacity:
            what = f"{self.name}: a question of {length} tokens, the model takes {self._capacity}"
            return SampleError(FailureKind.SCORE_FAILED, what)
        return {name: made[name].to(self._device) for name in ("input_ids", "attention_mask")}

    def _read(self, frames: Frames, prompts: Sequence[Inputs]) -> Floats:
        images = [Image.fromarray(frame) for frame in frames]
        pixels = self._processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            pixels = pixels.to(self._device, self._dtype)
            seen_BPD = self._model.vision_model(pixel_values=pixels).last_hidden_state
            rows = [self._logits(text, seen_BPD).float().softmax(dim=1)[:, MATCH] for text in prompts]
        return torch.stack(rows).cpu().numpy()

    def _logits(self, text: Inputs, seen_BPD: torch.Tensor) -> torch.Tensor:
        """Logits [B, 2]: the head reads the text's first token, which attended to the frame."""
        read: Any = self._model.text_encoder(
            **{name: value.expand(len(seen_BPD), -1) for name, value in text.items()},
            encoder_hidden_states=seen_BPD,
            encoder_attention_mask=torch.ones(seen_BPD.shape[:2], dtype=torch.long, device=self._device),
        )
        logits: torch.Tensor = self._model.itm_head(read.last_hidden_state[:, 0])
        return logits
