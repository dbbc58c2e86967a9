"""One shard of a part into the joined build: linked or copied as it is, rewritten only where samples go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from strive_data.atomic import write_json
from strive_data.errors import DamagedError
from strive_data.manifest import Entry
from strive_data.merge.plan import Move
from strive_data.shard_writer import END_OF_ARCHIVE
from strive_data.verify.manifest import manifest_name

BLOCK_BYTES = 1 << 20


def move_shard(move: Move, source: Path, out: Path, *, copy: bool) -> list[Entry]:
    """Bring a shard from folder `source` to folder `out`, and its manifest; returns the entries of it.

    Raises DamagedError where bytes that were read are not those of the manifest, and OSError.
    """
    old, new = source / move.manifest.shard, out / move.shard
    changes: dict[str, Any] = {"shard": move.shard}
    entries = list(move.kept)
    if not move.is_whole:
        entries, written = _rewrite(old, new, move)
        changes |= written | {"samples": _entry_bodies(move, entries)}
    elif copy or not _link(old, new):
        _copy(old, new, move.manifest.sha256)
    write_json(out / manifest_name(move.shard), move.manifest.body | changes)
    return entries


def _link(old: Path, new: Path) -> bool:
    """A second name for the same bytes; False where the file systems differ or know no links."""
    try:
        os.link(old.resolve(), new)
    except OSError:
        return False
    return True


def _copy(old: Path, new: Path, digest: str) -> None:
    copied = sha256()
    with old.open("rb") as source, new.open("wb") as target:
        while block := source.read(BLOCK_BYTES):
            copied.update(block)
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    if copied.hexdigest() != digest:
        raise _damaged(old)


def _rewrite(old: Path, new: Path, move: Move) -> tuple[list[Entry], dict[str, Any]]:
    """The kept samples, byte for byte, one after the other; their entries, and what the manifest says now."""
    digest, entries, at = sha256(), list[Entry](), 0
    with new.open("wb") as target:
        for block, entry in _blocks(old, move):
            entries.append(replace(entry, offset=at))
            digest.update(block)
            at += target.write(block)
        digest.update(END_OF_ARCHIVE)
        at += target.write(END_OF_ARCHIVE)
        target.flush()
        os.fsync(target.fileno())
    return entries, {"size_bytes": at, "sha256": digest.hexdigest()}


def _blocks(old: Path, move: Move) -> Iterator[tuple[bytes, Entry]]:
    with old.open("rb") as source:
        for entry in move.kept:
            source.seek(entry.offset)
            block = source.read(min(entry.length, move.manifest.size_bytes))
            if sha256(block).hexdigest() != entry.sha256:
                raise _damaged(old)
            yield block, entry


def _entry_bodies(move: Move, entries: list[Entry]) -> list[dict[str, Any]]:
    """As they stand in the old manifest, at their new offsets."""
    offsets = {entry.sample_id: entry.offset for entry in entries}
    bodies = move.manifest.body["samples"]
    return [body | {"offset": offsets[body["sample_id"]]} for body in bodies if body["sample_id"] in offsets]


def _damaged(path: Path) -> DamagedError:
    return DamagedError(
        f"{path} is not what its manifest says: `strive-data verify {path.parent}` tells more"
    )
