"""What passes between the stages of the trainer.

Shape letters: Q questions of a batch, M variants, G completions of a variant, K frames of a variant,
L tokens, D width of the language model.

A *group* is one question with the M views of its video and its M×G completions. It is the one object that
passes through a step; each stage returns it with its own fields filled:

    data        question, ref, views
    encode      prompts
    rollout     completions
    reward      rewards
    advantage   advantages
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from strive_data.schema import Frames, ProblemType, Question, Times

if TYPE_CHECKING:
    from torch import Tensor

Rewards = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One variant as the policy sees it: frames uint8 RGB [K, H, W, 3], times float64 [K] in seconds.

    `spatial` names the spatial view. `paired`: every second frame is the neighbour of the chosen frame
    before it. `still`: an image and no video; K frames that are all the same.
    """

    frames: Frames
    times: Times
    spatial: str = "whole"
    paired: bool = False
    still: bool = False


@dataclass(frozen=True, kw_only=True)
class SampleRef:
    """One question of the stream: its position in the shards and the epoch. A run takes none twice."""

    position: int
    epoch: int


# How an answer is to be written, at the end of a prompt. Own words: the paper's prompts are not known here.
ANSWER_FORM: dict[ProblemType, str] = {
    "multiple choice": "The final answer is the letter of one option and nothing else.",
    "numerical": "The final answer is one number and nothing else.",
    "regression": "The final answer is one number and nothing else.",
    "OCR": "The final answer is the text exactly as it is written in the video.",
    "free-form": "The final answer is a short text.",
    "temporal grounding": (
        "The final answer is when it starts and ends in seconds of the video, as START to END, "
        "with semicolons between several times."
    ),
}


@dataclass(frozen=True, kw_only=True)
class PromptStyle:
    """How the prompt asks for an answer: whether to reason first, and the line that states the form of the
    answer ("": the line of the question's type)."""

    reason: bool = True
    form: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prompt:
    """What the policy reads: one question under one view.

    ids int64 [L]; positions int64 [3, L]; is_video bool [L], the tokens of the video, or of the image where
    `still`; pixels float32 [patches, values of a patch] on the CPU; grid (T, H, W) in patches before merging;
    features [N, (1 + layers)·D] of its N video tokens, once the frozen vision tower has encoded the pixels:
    what stands in their place, then what is added behind each of the first decoder layers (none in most
    architectures). `opening` is the text at the end of the prompt that belongs to the completion: the
    `<think>` of a chat template that opens the thought itself.
    """

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    is_video: npt.NDArray[np.bool_]
    pixels: Tensor
    grid: tuple[int, int, int]
    features: Tensor | None = None
    opening: str = ""
    still: bool = False


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One sampled text: token ids (the end token included where it was sampled), the log-probability of each
    under the policy that sampled it, its text without special tokens, whether it ended by itself, and the
    entropies, in nats, of the distributions that the tokens were drawn from (empty where not known)."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finished: bool
    entropies: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reward:
    """Parts of the reward of one completion, each in [0, 1]; `total` is their weighted sum. `custom` holds
    the further parts of a user's function, by name."""

    accuracy: float
    format: float
    total: float
    custom: Mapping[str, float] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, float]:
        """All parts by name."""
        return {"accuracy": self.accuracy, "format": self.format, **self.custom}


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """One question with M views and M×G completions; a stage that has not run has left its fields empty.

    `ref` keys the random numbers of the completions; a group that is only decoded greedily needs no `ref`.
    `prompts` [M], `completions` and `rewards` [M][G], `advantages` float64 [M, G]. A group cut to the
    completions that are learned (`update.learned_part`) has variants of unequal length, no rewards, and
    advantages [B] of all its B completions in their order.
    """

    question: Question
    views: tuple[View, ...]
    ref: SampleRef | None = None
    style: PromptStyle = field(default_factory=PromptStyle)
    prompts: tuple[Prompt, ...] = ()
    completions: tuple[tuple[Completion, ...], ...] = ()
    rewards: tuple[tuple[Reward, ...], ...] = ()
    advantages: Rewards = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def still(self) -> bool:
        """Whether the question is about an image."""
        return any(view.still for view in self.views)

    @property
    def flat(self) -> tuple[Completion, ...]:
        """All completions, variant after variant."""
        return tuple(chain.from_iterable(self.completions))

    @property
    def tokens(self) -> int:
        """Number of tokens of all completions."""
        return sum(len(completion.ids) for completion in self.flat)

    def reward_grid(self, part: str = "total") -> Rewards:
        """The total rewards, or one part of them by name, float64 [M, G]."""
        rows = [[(reward.parts | {"total": reward.total})[part] for reward in row] for row in self.rewards]
        return np.array(rows, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class SkippedQuestion:
    """A question that a step leaves out: its stored data is damaged (the reason names the shard), or its
    prompt cannot be made."""

    sample_id: str
    reason: str
