"""The builds to be joined: read, checked by their checksums, and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strive_data.errors import DamagedError, UsageError
from strive_data.shards import read_run
from strive_data.verify.manifest import ReadManifest, manifest_name, read_manifest
from strive_data.verify.record import Record, file_problems, read_record


@dataclass(frozen=True, kw_only=True)
class Part:
    """One finished build: `run` is its run.json, `manifests` are in the order of its shards."""

    folder: Path
    run: Mapping[str, Any]
    record: Record
    manifests: tuple[ReadManifest, ...]


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
    manifests = (read_manifest(folder / manifest_name(shard)) for shard in record.shards)
    return Part(folder=folder, run=run, record=record, manifests=tuple(manifests))


def require_same_settings(parts: Sequence[Part]) -> None:
    """Raise UsageError that names every setting in which a build differs from the first."""
    first, *others = parts
    for other in others:
        before, after = (dict(_flat(part.run["settings"])) for part in (first, other))
        changed = [
            f"{name}: {before.get(name)} in {first.folder}, {after.get(name)} in {other.folder}"
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        ]
        if changed:
            raise UsageError(
                f"builds of other settings cannot be joined: {'; '.join(changed)}; build one of them again"
            )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
