"""The builds to be joined: read, checked by their checksums, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from strive_data.common.settings import differences, identity
from strive_data.common.text import plural
from strive_data.errors import DamagedError, UsageError
from strive_data.shards.build_state import BuildState, read_build_state
from strive_data.shards.manifest import Entry, FailedRow, Manifest, shard_name
from strive_data.shards.reader import read_run
from strive_data.verify.record import Record, file_problems, read_record

# Which samples of which shards the joined build takes. Pure.
#
# A sample that stands in several builds with the same bytes is taken once: nothing is lost by it. One id
# with
# different bytes is refused, unless the caller says that the build named first is right.

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
    lost: tuple[FailedRow, ...]
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
    lost: list[FailedRow] = []
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
            f"in several builds, with different content: {plural(len(clashes), 'sample id')}: "
            f"{some_of(clashes)}; --duplicates first takes those of the build named first"
        )
    return Plan(moves=tuple(moves), lost=tuple(lost), dropped=tuple(dropped), clashes=tuple(clashes))


def some_of(clashes: Sequence[str]) -> str:
    """The first clashes, and how many more there are."""
    more = f" and {len(clashes) - SHOWN} more" if len(clashes) > SHOWN else ""
    return "; ".join(clashes[:SHOWN]) + more


@dataclass(frozen=True, kw_only=True)
class Part:
    """One finished build: `run` is its run.json, `ledger` has its manifests in the order of its shards."""

    folder: Path
    run: Mapping[str, Any]
    record: Record
    ledger: BuildState


def read_part(folder: Path) -> Part:
    """The build in `folder`; its tables and manifests are checked, its shards are not read.

    Raises UsageError where it is no finished build and DamagedError where a checksum differs.
    """
    run = read_run(folder)
    record, problems = read_record(folder)
    problems += file_problems(folder, record)
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise DamagedError(f"{folder}/{problems[0]}{more}: `strive-data verify {folder}` tells all")
    return Part(folder=folder, run=run, record=record, ledger=read_build_state(folder, record.settings))


def require_same_settings(parts: Sequence[Part]) -> None:
    """Raise UsageError that names every setting in which a build differs from the first."""
    first, *others = parts
    for other in others:
        changed = differences(identity(first.record.settings), identity(other.record.settings))
        if changed:
            raise UsageError(
                f"builds of other settings cannot be joined: {first.folder} has {'; '.join(changed)}, in "
                f"{other.folder}; build one of them again"
            )
