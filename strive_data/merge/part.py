"""The builds to be joined: read, checked by their checksums, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strive_data.errors import DamagedError, UsageError
from strive_data.ledger import Ledger, read_ledger
from strive_data.settings import differences, identity
from strive_data.shards import read_run
from strive_data.verify.record import Record, file_problems, read_record


@dataclass(frozen=True, kw_only=True)
class Part:
    """One finished build: `run` is its run.json, `ledger` has its manifests in the order of its shards."""

    folder: Path
    run: Mapping[str, Any]
    record: Record
    ledger: Ledger


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
    return Part(folder=folder, run=run, record=record, ledger=read_ledger(folder, record.settings))


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
