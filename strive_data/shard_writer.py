"""Write numbered shards; each becomes visible only when it is complete.

Commit protocol (DESIGN.md section 4): temporary tar, fsync, rename the tar, then its manifest by rename.
The manifest is the commit marker; counts, offsets and checksums come from it, never from the tar's order.
Equal samples give equal bytes: fixed mtime, owner and mode, members in a fixed order.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from io import BufferedWriter
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.config import ShardSettings
from strive_data.sample_tar import BLOCK_BYTES, sample_members
from strive_data.schema import INDEX_TABLE, SCHEMA_VERSION, Sample

END_OF_ARCHIVE = bytes(2 * BLOCK_BYTES)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where one sample lies: bytes [offset, offset + length) of its shard, and their sha256."""

    sample_id: str
    offset: int
    length: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a finished shard holds: `shard-000000.json` beside `shard-000000.tar`."""

    schema_version: int
    shard: str
    settings: str
    size_bytes: int
    sha256: str
    samples: tuple[Entry, ...]


class OpenShard:
    """A shard under construction: `add` samples, then `commit`."""

    def __init__(self, folder: Path, number: int, settings_fingerprint: str) -> None:
        self.name = f"shard-{number:06d}.tar"
        self._path = folder / self.name
        self._settings = settings_fingerprint
        self._temporary = folder / f".{self.name}.tmp"
        self._file: BufferedWriter = self._temporary.open("wb")
        self._hash = sha256()
        self._entries: list[Entry] = []
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, sample: Sample) -> None:
        """Append one sample."""
        block = encode_sample(sample)
        digest = sha256(block).hexdigest()
        sample_id = sample.meta.question.sample_id
        entry = Entry(sample_id=sample_id, offset=self.size_bytes, length=len(block), sha256=digest)
        self._entries.append(entry)
        self._append(block)

    def commit(self) -> Manifest:
        """Make the shard visible: everything on disk first, the manifest last."""
        self._append(END_OF_ARCHIVE)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            shard=self.name,
            settings=self._settings,
            size_bytes=self.size_bytes,
            sha256=self._hash.hexdigest(),
            samples=tuple(self._entries),
        )
        self._temporary.replace(self._path)
        write_json(self._path.with_suffix(".json"), asdict(manifest))
        return manifest

    def _append(self, block: bytes) -> None:
        self._file.write(block)
        self._hash.update(block)
        self.size_bytes += len(block)

    def is_full(self, settings: ShardSettings) -> bool:
        """Whether the shard has reached its limit of samples or bytes."""
        return len(self) >= settings.max_samples or self.size_bytes >= settings.max_bytes


def index_of(manifests: Sequence[Manifest]) -> pl.DataFrame:
    """The index table of a build, in the order of the shards."""
    rows = [
        (entry.sample_id, manifest.shard, entry.offset, entry.length, entry.sha256)
        for manifest in manifests
        for entry in manifest.samples
    ]
    return pl.DataFrame(rows, schema=INDEX_TABLE, orient="row")


def encode_sample(sample: Sample) -> bytes:
    """Tar members of one sample, without the end-of-archive blocks; a multiple of 512 bytes."""
    # Imported here: webdataset imports torch, and decoding workers import the main module of their parent.
    import webdataset

    buffer = io.BytesIO()
    with webdataset.TarWriter(
        buffer, encoder=False, user="", group="", mode=0o644, mtime=0, compress=False
    ) as tar:
        for name, content in sample_members(sample):
            # One member a call: TarWriter sorts the members of a call by name.
            tar.write({"__key__": sample.key, name: content})
        length = tar.tarstream.offset
    return buffer.getvalue()[:length]


def write_json(path: Path, body: dict[str, Any]) -> None:
    """Write JSON under a temporary name, fsync, rename: the file is whole or absent."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(body, file, indent=1, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
