"""What passes between the stages of the trainer.

Shape letters: Q questions of a batch, M variants, G completions of a variant, K frames of a variant,
L tokens of a completion. One question with its M views and its M×G completions is a *group*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from strive_data.schema import Frames, Question, Times

Rewards = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One variant as the policy sees it: frames uint8 RGB [K, H, W, 3], times float64 [K] in seconds; how it
    shows them, in words. `paired`: every other frame is the neighbour of the chosen one before it."""

    frames: Frames
    times: Times
    spatial: str = "whole"
    paired: bool = False


@dataclass(frozen=True, kw_only=True)
class SampleRef:
    """One question of a batch: its position in the shards, and the epoch in which it is taken. A run takes no
    pick twice."""

    position: int
    epoch: int


@dataclass(frozen=True, kw_only=True)
class PromptStyle:
    """How an answer is asked for: whether to reason first, and the line that says the form of the answer ("":
    that of the question's type)."""

    reason: bool = True
    form: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """One question and the M views of its video; `clean` is the uniform view beside them, where it is asked
    for. `pick` says which question of the stream of all it is, and so which random numbers its answers are
    sampled by; a group that is only answered greedily needs none."""

    question: Question
    views: tuple[View, ...]
    clean: View | None = None
    pick: SampleRef | None = None
    wording: PromptStyle = field(default_factory=PromptStyle)


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One sampled answer: token ids (the end token included where it was sampled), the log-probability of
    each under the policy that sampled it, its text without special tokens, whether it ended by itself, and
    the entropies, in nats, of the distributions that the tokens were drawn from (empty where not known)."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finished: bool
    entropies: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Reward:
    """Parts of the reward of one completion, each in [0, 1]; `total` is their weighted sum. `own` holds the
    further parts of a user's own function, by name."""

    accuracy: float
    format: float
    total: float
    own: Mapping[str, float] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, float]:
        """All parts by name."""
        return {"accuracy": self.accuracy, "format": self.format, **self.own}


@dataclass(frozen=True, kw_only=True, eq=False)
class Rollout:
    """A group with its completions and rewards, both [M][G]."""

    group: Group
    completions: tuple[tuple[Completion, ...], ...]
    rewards: tuple[tuple[Reward, ...], ...]
