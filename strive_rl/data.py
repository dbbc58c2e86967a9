"""Which questions a step takes, and their groups.

The order of an epoch is a permutation by a counter-based generator keyed by (seed, epoch), so the state of
the stream is two numbers. Batches have one size: where an epoch ends inside a batch, the next one fills it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from strive_data.schema import Sample
from strive_rl.schema import Group
from strive_rl.views import ViewPlan, training_group


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Place in the stream: `taken` questions of epoch `epoch` were given out."""

    epoch: int = 0
    taken: int = 0


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One question of a batch: its position in the shards, and the epoch in which it is taken."""

    position: int
    epoch: int


class Samples(Protocol):
    """Random access to samples, as `strive_data.shards.ShardSet` gives it."""

    def __len__(self) -> int:
        """Number of samples."""

    def read(self, position: int) -> Sample:
        """The sample at this position."""


def epoch_order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """Permutation int64 [count] of the sample positions: sorted by raw Philox bits keyed by (seed, epoch)."""
    key = np.array([seed, epoch], dtype=np.uint64)
    return np.argsort(np.random.Philox(key=key).random_raw(count), kind="stable")


def next_batch(cursor: Cursor, *, seed: int, count: int, size: int) -> tuple[list[Pick], Cursor]:
    """The next `size` questions of `count` samples, and the cursor after them."""
    picks: list[Pick] = []
    while len(picks) < size:
        if cursor.taken == count:
            cursor = Cursor(epoch=cursor.epoch + 1)
        end = min(count, cursor.taken + size - len(picks))
        positions = epoch_order(seed, cursor.epoch, count)[cursor.taken : end]
        picks += [Pick(position=int(position), epoch=cursor.epoch) for position in positions]
        cursor = Cursor(epoch=cursor.epoch, taken=end)
    return picks, cursor


def read_groups(samples: Samples, picks: list[Pick], plan: ViewPlan, *, seed: int) -> list[Group]:
    """Groups of these picks, in their order."""
    return [training_group(samples.read(pick.position), plan, seed=seed, epoch=pick.epoch) for pick in picks]
