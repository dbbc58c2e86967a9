"""Questions put to the policy: what asking takes and gives, and the fixed way: all M variants at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from strive_rl.data import Batch
from strive_rl.rollout import Encoded
from strive_rl.schema import Group, Rollout

T = TypeVar("T")


class Everyone(Protocol):
    """Joins the lists of all processes in the order of their ranks; every process must call it."""

    def __call__(self, mine: list[T], /) -> list[T]:
        """The joined list, the same on every process."""


def alone(mine: list[T], /) -> list[T]:
    """The lists of all processes, where there is one."""
    return mine


@dataclass(frozen=True, kw_only=True, eq=False)
class Stages:
    """`encode` groups to prompts; `roll` out encoded groups, whose first views have this number among the
    variants of their question: a variant has the same answers in whichever wave and process it is asked."""

    encode: Callable[[Sequence[Group]], Encoded]
    roll: Callable[[Encoded, int], list[Rollout]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """A batch with its answers: rollouts and prompts in one order. `waves` is how often was sampled."""

    batch: Batch
    encoded: Encoded
    rollouts: tuple[Rollout, ...]
    waves: int = 1


def ask_once(batch: Batch, stages: Stages) -> Answered:
    """Every question under all of its variants."""
    encoded = stages.encode(batch.groups)
    return Answered(batch=batch, encoded=encoded, rollouts=tuple(stages.roll(encoded, 0)))
