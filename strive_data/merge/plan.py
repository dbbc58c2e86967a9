"""Read the builds to be joined, and decide which samples of which shards the joined build takes.

A sample that several builds hold with the same bytes is taken once. One id with different bytes is refused,
unless the caller decides that the build named first wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strive_data.common.settings import differences, identity
from strive_data.common.text import plural
from strive_data.config import BuildSettings, Duplicates
from strive_data.errors import DamagedError, UsageError
from strive_data.schema import FailedRow
from strive_data.shards.build_state import BuildState, read_build_state
from strive_data.shards.manifest import Entry, Manifest
from strive_data.shards.names import shard_name
from strive_data.shards.reader import read_run
from strive_data.verify.record import file_problems, read_record

MAX_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Part:
    """A finished build to be joined: `run` is its run.json."""

    folder: Path
    run: Mapping[str, Any]
    settings: BuildSettings
    state: BuildState


@dataclass(frozen=True, kw_only=True)
class ShardMove:
    """A shard of part number `part` that becomes `shard`, with the entries that are kept."""

    part: int
    manifest: Manifest
    shard: str
    kept: tuple[Entry, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all samples are kept, so that the bytes do not change."""
        return len(self.kept) == len(self.manifest.samples)


@dataclass(frozen=True, kw_only=True)
class MergePlan:
    """`moves` in the order of the joined shards; `repeated` counts samples that an earlier part also holds.

    `conflicts` names those of them with other bytes, each with the two builds; `failures` were recorded by
    the manifests of shards of which nothing is kept.
    """

    moves: tuple[ShardMove, ...]
    repeated: int
    conflicts: tuple[str, ...]
    failures: tuple[FailedRow, ...]


def read_part(folder: Path) -> Part:
    """The build in `folder`; checks the hashes of tables and manifests, and reads no shard.

    Raises UsageError if it is not a finished build, DamagedError if a checksum differs.
    """
    record = read_record(folder)
    problems = list(file_problems(folder, record))
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise DamagedError(f"{folder}/{problems[0]}{more}: `strive-data verify {folder}` lists all")
    state = read_build_state(folder, record.settings)
    return Part(folder=folder, run=read_run(folder), settings=record.settings, state=state)


def require_same_settings(parts: Sequence[Part]) -> None:
    """Raise UsageError that names every setting in which a build differs from the first."""
    first, *others = parts
    for other in others:
        changed = differences(identity(first.settings), identity(other.settings))
        if changed:
            raise UsageError(
                f"builds of different settings cannot be joined: {first.folder} has {'; '.join(changed)}, in "
                f"{other.folder}; build one of them again"
            )


def plan_merge(
    parts: Sequence[Sequence[Manifest]], names: Sequence[str], duplicates: Duplicates
) -> MergePlan:
    """The plan for the manifests of each part; messages use the `names` of the parts.

    Raises UsageError for ids that several parts hold with different bytes, if they are refused.
    """
    owner: dict[str, tuple[str, int]] = {}
    moves: list[ShardMove] = []
    failures: list[FailedRow] = []
    conflicts: list[str] = []
    repeated = 0
    for part, manifest in ((part, manifest) for part, of in enumerate(parts) for manifest in of):
        kept = []
        for entry in manifest.samples:
            digest, first = owner.setdefault(entry.sample_id, (entry.sha256, part))
            if first == part:
                kept.append(entry)
                continue
            repeated += 1
            if digest != entry.sha256:
                conflicts.append(f"{entry.sample_id!r} in {names[first]} and {names[part]}")
        if kept:
            shard = shard_name(len(moves))
            moves.append(ShardMove(part=part, manifest=manifest, shard=shard, kept=tuple(kept)))
        else:
            failures += manifest.failures
    if conflicts and duplicates == "refuse":
        raise UsageError(
            f"different content in several builds: {plural(len(conflicts), 'sample id')}: "
            f"{list_some(conflicts)}; --duplicates first takes the content of the build named first"
        )
    return MergePlan(
        moves=tuple(moves), repeated=repeated, conflicts=tuple(conflicts), failures=tuple(failures)
    )


def list_some(conflicts: Sequence[str]) -> str:
    """The first conflicts, and the number of the others."""
    more = f" and {len(conflicts) - MAX_LISTED} more" if len(conflicts) > MAX_LISTED else ""
    return "; ".join(conflicts[:MAX_LISTED]) + more
