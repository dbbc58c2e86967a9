"""What differs from one vision-language model to the next, behind one protocol.

An architecture says how the frames of a clip become pixels, text and position ids, and how its vision
features enter the language model. Everything else of the policy (sampling, the block row, log-probabilities)
is one code for all of them. To add one: a file with a class like those of `qwen2_5_vl` and `qwen3_vl`, and
its name in `load.ARCHITECTURES`.

Shape letters: T temporal patches of a clip, H×W patches of each, N video tokens (after merging), D width of
the language model, R rows, L tokens of a prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from strive_data.schema import Times
from strive_rl.policy.positions import Ids
from strive_rl.schema import VideoFeatures

Grid = tuple[int, int, int]


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
    """One family of models of transformers, by its `model_type`."""

    @property
    def model_class(self) -> Any:
        """The class of transformers that loads it."""

    @property
    def patch_text_tokens(self) -> int:
        """About how many tokens of text stand around each temporal patch, for estimates."""

    def pixel_limit(self, pixels: int, frames: int) -> int:
        """What the video processor's `size` must say for `pixels` a frame in a clip of `frames`."""

    def placeholder(self, processor: Any, clip: Clip) -> str:
        """The text that the model's processor puts in place of the chat template's one video token."""

    def positions(self, config: Any, is_video_L: npt.NDArray[np.bool_], clip: Clip) -> Ids:
        """Three-axis position ids of the prompt, int64 [3, L]. ValueError: the marks do not fit the clip."""

    def features(self, model: Any, pixels: torch.Tensor, grids: Sequence[Grid]) -> list[VideoFeatures]:
        """Vision features of each clip, by one call of the tower; pixels [all T·H·W, values of a patch]."""

    def injected(self, deep: Sequence[torch.Tensor], is_video_RL: torch.Tensor) -> dict[str, Any]:
        """Further arguments of the language model, for features `deep` (each [all video tokens, D])."""
