"""manifest.json of a folder: size and sha256 of each of its files, so that damage is found before it is used.

It is written last, under a checksum of its own. Folders of earlier versions have none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strive_data.common.files import file_sha256, json_bytes, sync_folder, write_bytes
from strive_data.errors import DamagedError, UsageError
from strive_data.shards.provenance import add_checksum, checksum_matches
from strive_rl.common import jsonl

MANIFEST_FILE = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Bring every file of the folder to the disk, and write its manifest."""
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.name != MANIFEST_FILE)
    for path in paths:
        _sync(path)
    files = {path.name: {"size_bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in paths}
    write_bytes(folder / MANIFEST_FILE, json_bytes(add_checksum({"files": files})))
    sync_folder(folder)


def has_manifest(folder: Path) -> bool:
    """Whether the files of the folder can be checked."""
    return (folder / MANIFEST_FILE).is_file()


def find_damage(folder: Path) -> Iterator[str]:
    """A line for each file that is not what the manifest says; nothing for a folder without one."""
    if not has_manifest(folder):
        return
    path = folder / MANIFEST_FILE
    try:
        body = jsonl.read_json(path, ["files"])
        intact = checksum_matches(path.read_bytes(), body)
    except UsageError as error:
        yield f"{error}: damaged"
        return
    if not intact:
        yield f"{path}: its own checksum does not match: damaged"
        return
    for name, wanted in body["files"].items():
        reason = _damage(folder / name, wanted)
        if reason:
            yield f"{folder / name}: {reason}"


def require_intact(folder: Path) -> None:
    """Raise DamagedError that names the first damaged file of the folder."""
    damage = next(find_damage(folder), None)
    if damage:
        raise DamagedError(damage)


def _damage(path: Path, wanted: dict[str, Any]) -> str | None:
    try:
        size_bytes = path.stat().st_size
        if size_bytes != wanted["size_bytes"]:
            return f"damaged: {size_bytes:,} bytes, expected {wanted['size_bytes']:,}"
        return None if file_sha256(path) == wanted["sha256"] else "damaged: its sha256 does not match"
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
