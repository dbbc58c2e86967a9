"""The manifest of a shard as read from disk: what the other checks need of it, and no more."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strive_data.errors import DamagedError
from strive_data.manifest import Entry
from strive_data.schema import SCHEMA_VERSION

SHARD = re.compile(r"shard-(\d{6,})\.tar")
ENTRY = {"sample_id": str, "offset": int, "length": int, "sha256": str}
FIELDS = {"shard": str, "settings": str, "size_bytes": int, "sha256": str, "samples": list}


@dataclass(frozen=True, kw_only=True)
class ReadManifest:
    """`body` is the whole JSON object; the rest are its fields, of their types."""

    body: dict[str, Any]
    shard: str
    settings: str
    size_bytes: int
    sha256: str
    samples: tuple[Entry, ...]


def shard_name(number: int) -> str:
    """Name of the tar of this number."""
    return f"shard-{number:06d}.tar"


def manifest_name(shard: str) -> str:
    """Name of the manifest of a tar."""
    return str(Path(shard).with_suffix(".json"))


def read_manifest(path: Path) -> ReadManifest:
    """The manifest at `path`. Raises DamagedError where it is absent, cut or no manifest."""
    try:
        body = json.loads(path.read_bytes())
    except OSError as error:
        raise DamagedError(f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"not JSON: {error}") from error
    if not isinstance(body, dict) or body.get("schema_version") != SCHEMA_VERSION:
        raise DamagedError(f"no manifest of schema version {SCHEMA_VERSION}")
    wrong = [name for name, kind in FIELDS.items() if type(body.get(name)) is not kind]
    if wrong or not all(_is_entry(entry) for entry in body["samples"]):
        raise DamagedError(f"no manifest: {', '.join(wrong) or 'samples'} missing or of another type")
    entries = tuple(Entry(**{name: entry[name] for name in ENTRY}) for entry in body["samples"])
    fields = {name: body[name] for name in FIELDS if name != "samples"}
    return ReadManifest(body=body, samples=entries, **fields)


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and all(type(entry.get(name)) is kind for name, kind in ENTRY.items())
        and entry["length"] >= 0
    )
