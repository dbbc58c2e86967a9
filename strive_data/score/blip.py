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
from strive_data.score.load_vlm import Inputs, PromptScorer

HINT = (
    "score.model takes a BLIP matching model (BlipForImageTextRetrieval): a hub name or, without a network, "
    "a folder"
)
MATCH = 1  # the head's second output


class BlipScorer(PromptScorer):
    """Scorer with a BLIP matching model; probabilities in [0, 1]."""

    def __init__(self, settings: ScoreSettings, *, threads: int | None = None) -> None:
        super().__init__(settings, BlipForImageTextRetrieval, HINT, threads)

    def _tokens(self, query: str, frames: Frames) -> Inputs | SampleError:
        made = self.processor.tokenizer(query, return_tensors="pt")
        if (length := made["input_ids"].shape[1]) > self.capacity:
            what = f"{self.name}: a question of {length} tokens, the model takes {self.capacity}"
            return SampleError(FailureKind.SCORE_FAILED, what)
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
