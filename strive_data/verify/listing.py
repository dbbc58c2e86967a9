"""Which files lie in the folder of a build that are no part of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from strive_data.shards import RUN_FILE
from strive_data.verify.manifest import SHARD
from strive_data.verify.problem import REMOVE, Problem
from strive_data.verify.record import Record

# What people put beside: reports, plots, exported rows, notes.
PEOPLES_OWN = frozenset({".csv", ".html", ".md", ".pdf", ".png", ".svg", ".txt"})


def stray_problems(folder: Path, record: Record) -> Iterator[Problem]:
    """Temporary files, folders, and shards, tables and JSON that `run.json` does not name."""
    known = {RUN_FILE, *record.files, *record.shards}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in known:
            continue
        if entry.name.startswith(".") or entry.name.endswith((".tmp", ".part")):
            yield Problem(file=entry.name, what="left by a run that was interrupted", todo=REMOVE)
        elif SHARD.fullmatch(entry.name) or SHARD.fullmatch(str(Path(entry.name).with_suffix(".tar"))):
            yield Problem(file=entry.name, what=f"a shard that {RUN_FILE} does not name", todo=REMOVE)
        elif entry.is_dir() or Path(entry.name).suffix not in PEOPLES_OWN:
            yield Problem(file=entry.name, what="no part of a build", todo=f"{REMOVE}, or keep it elsewhere")
