"""Which questions a step takes: a pure function of a seed, the sizes of the shards and a place in the stream.

The samples form one endless stream, epoch after epoch, each in its own order and with every sample exactly
once. A global batch is the next `batch_size` questions of the stream: where an epoch ends inside a batch, the
next epoch fills it. A rank takes its slice of the global batch, so all take equally many steps, and a resumed
run takes the same batches on any number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from strive_data.errors import UsageError
from strive_rl.schema import SampleRef

T = TypeVar("T")
Order = npt.NDArray[np.int64]

SAMPLES, BLOCKS = 0, 1
# Of a stream: what a checkpoint says of it.
IDENTITY = ("seed", "batch_size", "window", "fingerprint")


@dataclass(frozen=True, kw_only=True)
class Stream:
    """All that the stream depends on.

    `blocks` are the sizes of the shards, `fingerprint` names their content; `window` 0 shuffles a whole
    epoch, another number of samples shuffles the shards, then their samples within windows of that many.
    """

    blocks: tuple[int, ...]
    seed: int
    batch_size: int
    window: int = 0
    fingerprint: str = ""

    @property
    def count(self) -> int:
        """Samples of an epoch."""
        return sum(self.blocks)


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """Place in the stream: `taken` questions of epoch `epoch` are consumed; reading ahead does not count."""

    epoch: int = 0
    taken: int = 0


def next_batch(cursor: Cursor, stream: Stream, size: int | None = None) -> tuple[list[SampleRef], Cursor]:
    """The next global batch, or the next `size` questions, and the cursor after them."""
    size = stream.batch_size if size is None else size
    refs: list[SampleRef] = []
    while len(refs) < size:
        if cursor.taken == stream.count:
            cursor = Cursor(epoch=cursor.epoch + 1)
        end = min(stream.count, cursor.taken + size - len(refs))
        positions = epoch_order(stream, cursor.epoch)[cursor.taken : end]
        refs += [SampleRef(position=int(position), epoch=cursor.epoch) for position in positions]
        cursor = Cursor(epoch=cursor.epoch, taken=end)
    return refs, cursor


def rank_slice(items: Sequence[T], rank: int, world_size: int) -> list[T]:
    """The part of a global batch that one of `world_size` ranks takes; the parts in order are the batch.

    Parts differ by at most one item; they are equal where `world_size` divides the batch.
    """
    start, end = (len(items) * each // world_size for each in (rank, rank + 1))
    return list(items[start:end])


def state_of(cursor: Cursor, stream: Stream) -> dict[str, Any]:
    """The part of a checkpoint about the stream: the place, and the identity of the stream."""
    return asdict(cursor) | {name: getattr(stream, name) for name in IDENTITY}


def cursor_of(state: Mapping[str, Any], stream: Stream) -> Cursor:
    """The place in `stream` from a checkpoint. Raises UsageError for the place in another stream."""
    changed = [
        f"{name} was {state.get(name)}, now {getattr(stream, name)}"
        for name in IDENTITY
        if state.get(name) != getattr(stream, name)
    ]
    if changed:
        raise UsageError(f"the checkpoint was made with questions in another order: {'; '.join(changed)}")
    return Cursor(epoch=state["epoch"], taken=state["taken"])


# At most two epochs are in use: the one that ends inside a batch, and the one that fills it.
@lru_cache(maxsize=4)
def epoch_order(stream: Stream, epoch: int) -> Order:
    """Sample positions int64 [count] in the order of an epoch, read-only."""
    bits = random_bits(stream.seed, epoch, SAMPLES, stream.count)
    if stream.window:
        order = _shards_in_order(stream, epoch)[np.lexsort((bits, np.arange(stream.count) // stream.window))]
    else:
        order = np.argsort(bits, kind="stable")
    order.flags.writeable = False
    return order


def _shards_in_order(stream: Stream, epoch: int) -> Order:
    """Positions int64 [count], shard after shard, the shards in an order of the epoch."""
    ends = np.cumsum(stream.blocks)
    shuffled = np.argsort(random_bits(stream.seed, epoch, BLOCKS, len(ends)), kind="stable")
    return np.concatenate([np.arange(ends[i] - stream.blocks[i], ends[i]) for i in shuffled])


def random_bits(seed: int, number: int, purpose: int, count: int) -> npt.NDArray[np.uint64]:
    """Raw Philox bits, the same on every machine and numpy; keyed by the seed and a number (an epoch)."""
    key = np.array([seed, number], dtype=np.uint64)
    counter = np.array([0, 0, 0, purpose], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(count)
