"""Which samples of which shards the joined build takes. Pure.

A sample that stands in several builds with the same bytes is taken once: nothing is lost by it. One id with
different bytes is refused, unless the caller says that the build named first is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from strive_data.counted import counted
from strive_data.errors import UsageError
from strive_data.manifest import Entry, Lost, Manifest, shard_name

Duplicates = Literal["refuse", "first"]
DUPLICATES: tuple[str, ...] = get_args(Duplicates)
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Move:
    """A shard of part `part` that becomes `shard`, with the entries that are kept of it."""

    part: int
    manifest: Manifest
    shard: str
    kept: tuple[Entry, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all its samples are kept, so that its bytes stay as they are."""
        return len(self.kept) == len(self.manifest.samples)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """`moves` in the order of the joined shards; `dropped` are the ids that each part gives up; `lost` the
    failures that were told by the manifests of shards of which nothing is kept; `clashes` the dropped samples
    whose bytes are not those of the one that is kept, each with the builds that hold the two."""

    moves: tuple[Move, ...]
    lost: tuple[Lost, ...]
    dropped: tuple[frozenset[str], ...]
    clashes: tuple[str, ...]


def plan_merge(parts: Sequence[Sequence[Manifest]], names: Sequence[str], duplicates: Duplicates) -> Plan:
    """The plan for the manifests of each part; `names` of the parts are for the message.

    Raises UsageError for ids that stand in several parts with different bytes, where they are refused.
    """
    seen: dict[str, tuple[str, int]] = {}
    moves: list[Move] = []
    dropped: list[frozenset[str]] = []
    clashes: list[str] = []
    lost: list[Lost] = []
    for part, manifests in enumerate(parts):
        given_up = set()
        for manifest in manifests:
            for entry in manifest.samples:
                digest, first = seen.setdefault(entry.sample_id, (entry.sha256, part))
                if first == part:
                    continue
                given_up.add(entry.sample_id)
                if digest != entry.sha256:
                    clashes.append(f"{entry.sample_id!r} in {names[first]} and {names[part]}")
            kept = tuple(entry for entry in manifest.samples if entry.sample_id not in given_up)
            if kept:
                moves.append(Move(part=part, manifest=manifest, shard=shard_name(len(moves)), kept=kept))
            else:
                lost += manifest.failures
        dropped.append(frozenset(given_up))
    if clashes and duplicates == "refuse":
        raise UsageError(
            f"in several builds, with different content: {counted(len(clashes), 'sample id')}: "
            f"{some_of(clashes)}; --duplicates first takes those of the build named first"
        )
    return Plan(moves=tuple(moves), lost=tuple(lost), dropped=tuple(dropped), clashes=tuple(clashes))


def some_of(clashes: Sequence[str]) -> str:
    """The first clashes, and how many more there are."""
    more = f" and {len(clashes) - SHOWN} more" if len(clashes) > SHOWN else ""
    return "; ".join(clashes[:SHOWN]) + more
