"""The manifest of a shard, with every value of the type that it must have: nothing in it is trusted yet."""

from __future__ import annotations

import re
from pathlib import Path

from strive_data.errors import DamagedError
from strive_data.manifest import Entry, Manifest, PartFile, read_manifest

SHARD = re.compile(r"shard-\d{6,}\.tar")


def checked_manifest(path: Path) -> Manifest:
    """The manifest at `path`. Raises DamagedError where it is absent, cut or no manifest."""
    manifest = read_manifest(path)
    sound = (
        _is_file(manifest.size_bytes, manifest.sha256)
        and isinstance(manifest.shard, str)
        and isinstance(manifest.settings, str)
        and all(isinstance(name, str) for name in manifest.unfinished)
        and all(_is_part(part) for part in manifest.parts.values())
        and all(_is_entry(entry) for entry in manifest.samples)
    )
    if not sound:
        raise DamagedError(f"{path}: no manifest of a shard: a value is of another type")
    return manifest


def _is_part(part: PartFile) -> bool:
    return _is_file(part.size_bytes, part.sha256)


def _is_entry(entry: Entry) -> bool:
    texts = isinstance(entry.sample_id, str) and isinstance(entry.question, str)
    return texts and type(entry.offset) is int and _is_file(entry.length, entry.sha256)


def _is_file(size_bytes: object, digest: object) -> bool:
    return type(size_bytes) is int and size_bytes >= 0 and isinstance(digest, str)
