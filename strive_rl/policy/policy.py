"""A loaded policy, and what differs from one architecture to the next, behind a protocol.

An `Architecture` says how the frames of a clip become pixels, text and position ids; all else is one code
for all of them. To add one, write a class like those of `architectures.qwen_vl` and add its name to
`architectures.ARCHITECTURES`.

Shape letters: T temporal patches of a clip, H×W patches of each, N video tokens (after merging), D width of
the language model, R rows, L tokens of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from strive_data.schema import Times
from strive_rl.config import PolicySettings

T = TypeVar("T")
Grid = tuple[int, int, int]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """A clip as the tower reads it: `grid` (T, H, W) in patches before merging; `times` float64 [K] of its
    frames in seconds, as many for each temporal patch."""

    grid: Grid
    times: Times

    @property
    def patch_times(self) -> Times:
        """Mean time of the frames of each temporal patch, float64 [T]."""
        means: Times = np.asarray(self.times, dtype=np.float64).reshape(self.grid[0], -1).mean(axis=1)
        return means

    def merged(self, merge: int) -> Grid:
        """The grid in video tokens: merge × merge patches are one."""
        return self.grid[0], self.grid[1] // merge, self.grid[2] // merge


class Architecture(Protocol):
    """One family of models of transformers, by its `model_type`: the class `model_class` loads it, and about
    `patch_text_tokens` tokens of text stand around each temporal patch (for estimates)."""

    model_class: Any
    patch_text_tokens: int

    def pixel_limit(self, pixels: int, frames: int) -> int:
        """The video processor's `size` that bounds a frame to `pixels` in a clip of `frames`."""

    def placeholder(self, processor: Any, clip: Clip) -> str:
        """The text that the model's processor puts in place of the chat template's one video token."""

    def positions(self, config: Any, is_video_L: npt.NDArray[np.bool_], clip: Clip) -> Ids:
        """Three-axis position ids of the prompt, int64 [3, L]. ValueError: the marks do not fit the clip."""


# The method of a sharded model that runs a function as one forward pass, and its mark while every process
# holds all weights (`sharding`).
THROUGH = "strive_through"
WHOLE = "strive_whole"


@dataclass(frozen=True, kw_only=True, eq=False)
class Policy:
    """A loaded model with its processor.

    `suppressed` bool [V] marks the ids that are never sampled: vision tokens, which would break the next
    forward pass, and ids beyond the tokenizer. `end_ids` end a completion.
    """

    model: Any
    processor: Any
    architecture: Architecture
    settings: PolicySettings
    device: torch.device
    suppressed: torch.Tensor
    end_ids: tuple[int, ...]
    name: str

    @property
    def tokenizer(self) -> Any:
        """Tokenizer of the processor."""
        return self.processor.tokenizer

    def trainable(self) -> list[tuple[str, torch.nn.Parameter]]:
        """Names and parameters that the optimizer updates."""
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    def fsdp_forward(self, work: Callable[[], T]) -> T:
        """Run `work`, which calls the methods below, as one forward pass of a sharded model."""
        run: Callable[[Callable[[], T]], T] | None = getattr(self.model, THROUGH, None)
        return run(work) if run else work()

    def encode_vision(self, pixels: torch.Tensor, grids: Sequence[Grid]) -> list[torch.Tensor]:
        """Vision features of each clip as in `schema.Prompt`, by one call of the tower; pixels [all T·H·W,
        values of a patch]."""
        # In the model's type, as the tower reads them: half the bytes to copy.
        pixels = pixels.to(self.device, self.model.dtype)
        grid_thw = torch.tensor(grids, device=self.device)
        made = self.model.model.get_video_features(pixels, grid_thw, return_dict=True)
        # transformers 5.17 gives the deep features of all clips in one tensor, later ones a tensor a clip.
        layers = [made.pooler_output, *(getattr(made, "deepstack_features", None) or ())]
        columns = [layer if isinstance(layer, torch.Tensor) else torch.cat(tuple(layer)) for layer in layers]
        counts = [len(tokens) for tokens in made.pooler_output]
        return list(torch.split(torch.cat(columns, dim=1), counts))

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Input embeddings [..., D] of token ids."""
        embeddings: torch.Tensor = self.model.model.language_model.embed_tokens(ids)
        return embeddings

    def forward(
        self, inputs: Mapping[str, Any], positions_3RN: torch.Tensor, rows: Any = None
    ) -> torch.Tensor:
        """Hidden states [R, N, D] of the language model after `inputs`, its embeddings among them.

        `rows` is the attention of every layer: a `packing.PackedRow`, which gives the states [1, K, D]
        of its kept columns, or a `generate.Decoding`. Without it every column sees those before it.
        """
        text = self.model.model.language_model
        kept = getattr(rows, "kept", None)
        # Deep features of the last layer are added to all of its columns.
        deep = len(inputs.get("deepstack_visual_embeds", ()))
        narrow = kept is not None and deep < len(text.layers)
        hidden: torch.Tensor = text(
            **inputs, position_ids=positions_3RN, use_cache=False, rows=rows, narrow=narrow
        ).last_hidden_state
        return hidden if kept is None or narrow else hidden[:, kept]
