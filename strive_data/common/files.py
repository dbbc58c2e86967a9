"""Files that are whole or absent, whatever happens to the process or the machine while they are written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def temporary_of(path: Path) -> Path:
    """Where a file is written before it gets its name."""
    return path.with_name(f".{path.name}.tmp")


def is_temporary(path: Path) -> bool:
    """Whether it was left by a process that was stopped while it wrote."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, fsync, rename."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, body: Mapping[str, Any]) -> None:
    """Write a JSON object as `write_bytes` does."""
    write_bytes(path, (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path for the block to write; becomes `path`, by rename, when all of it is on the disk.

    What a failed block wrote is removed, so that a full disk has room again.
    """
    temporary = temporary_of(path)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power, those of renamed files too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
