"""What a folder would hold if the process were killed: copies of it, one before each step on the disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def recorded(folder: Path, images: Path) -> Iterator[list[Path]]:
    """Copies of `folder` below `images`, before each fsync, rename and removal in the block; no two equal."""
    taken: list[Path] = []
    seen: set[bytes] = set()

    def before(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            image = images / f"{len(taken):04d}"
            if folder.is_dir() and (state := _state(folder)) not in seen:
                seen.add(state)
                taken.append(shutil.copytree(folder, image))
            return call(*arguments, **options)

        return step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", before(os.fsync))
        patch.setattr(Path, "replace", before(Path.replace))
        patch.setattr(Path, "unlink", before(Path.unlink))
        yield taken


def _state(folder: Path) -> bytes:
    """Hash of all names and bytes."""
    digest = sha256()
    for path in sorted(folder.iterdir()):
        digest.update(f"{path.name}:{path.stat().st_size}:".encode() + path.read_bytes())
    return digest.digest()
