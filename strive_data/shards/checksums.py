"""Proof that nothing changed: the sha256 of a file, and a JSON object that carries its own.

`run.json` holds the hashes of all tables and manifests, these hold those of the shards, and `run.json` its
own in its last key: one flipped byte anywhere in a build breaks a link of that chain.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

CHECKSUM_KEY = "sha256"
FILES = "files"
BLOCK_BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """sha256 of a file, read in blocks. Raises OSError."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def file_hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """sha256 of each named file of a folder, in the order of the names."""
    return {name: file_sha256(folder / name) for name in sorted(names)}


def add_checksum(body: Mapping[str, Any]) -> dict[str, Any]:
    """The object with the sha256 of its JSON text in a last key."""
    unsealed = {name: value for name, value in body.items() if name != CHECKSUM_KEY}
    return unsealed | {CHECKSUM_KEY: sha256(json_bytes(unsealed)).hexdigest()}


def checksum_matches(content: bytes, body: Mapping[str, Any]) -> bool:
    """Whether `content`, whose JSON value `body` is, is to the byte what was written under its own seal."""
    return content == json_bytes(add_checksum(body))


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """The one JSON text of an object, as `shard_writer.write_json` writes it."""
    return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()
