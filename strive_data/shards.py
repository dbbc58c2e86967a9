"""Write numbered shards so that a shard is visible only when complete, and read single samples back.

Commit protocol (DESIGN.md section 4): temporary tar, fsync, manifest, rename the tar, then the manifest.
The manifest is the commit marker; counts, offsets and checksums come from it, never from the tar's order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from io import BufferedWriter
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.config import ShardSettings
from strive_data.errors import StriveError, UsageError
from strive_data.sample_tar import END_OF_ARCHIVE, decode_sample, encode_sample
from strive_data.schema import INDEX_TABLE, SCHEMA_VERSION, Sample

RUN_FILE = "run.json"
INDEX_FILE = "index.parquet"


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


class ShardSet:
    """The finished shards of one build, read sample by sample in any order."""

    def __init__(self, folder: Path, run: dict[str, Any], index: pl.DataFrame) -> None:
        self.folder = folder
        self.run = run
        self.sample_ids: list[str] = index["sample_id"].to_list()
        self._entries = index.select("shard", "offset", "length", "sha256").rows()

    @classmethod
    def open(cls, folder: Path) -> ShardSet:
        """Open a finished build. Raises UsageError where the folder is not one."""
        run = read_run(folder)
        return cls(folder, run, pl.read_parquet(folder / INDEX_FILE))

    def __len__(self) -> int:
        return len(self._entries)

    def read(self, position: int) -> Sample:
        """The sample at `position` of the index. Raises StriveError where its bytes have changed."""
        shard, offset, length, digest = self._entries[position]
        try:
            with (self.folder / shard).open("rb") as file:
                file.seek(offset)
                block = file.read(length)
        except OSError as error:
            raise StriveError(f"cannot read {self.folder / shard}: {error.strerror}") from error
        if sha256(block).hexdigest() != digest:
            raise StriveError(
                f"{self.folder / shard}: sample {self.sample_ids[position]!r} (bytes {offset} to "
                f"{offset + length}) does not have the checksum of {INDEX_FILE}: the shard is damaged"
            )
        return decode_sample(block)

    @property
    def settings(self) -> dict[str, Any]:
        """The build's resolved settings."""
        settings: dict[str, Any] = self.run["settings"]
        return settings

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the index: the same samples in the same shards, the same fingerprint."""
        return sha256((self.folder / INDEX_FILE).read_bytes()).hexdigest()[:16]


def read_run(folder: Path) -> dict[str, Any]:
    """The `run.json` of a finished build. Raises UsageError where there is none."""
    path = folder / RUN_FILE
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder} (expected the --out folder of `strive-data build`)")
    if not path.is_file():
        raise UsageError(
            f"{folder} has no {RUN_FILE}: it is no build, or a build that did not finish; "
            "run `strive-data build` to its end first"
        )
    try:
        run: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = run["schema_version"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not the {RUN_FILE} of `strive-data build`") from error
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema version {version}, this package reads {SCHEMA_VERSION}: build again"
        )
    return run


def index_of(manifests: Sequence[Manifest]) -> pl.DataFrame:
    """The index table of a build, in the order of the shards."""
    rows = [
        (entry.sample_id, manifest.shard, entry.offset, entry.length, entry.sha256)
        for manifest in manifests
        for entry in manifest.samples
    ]
    return pl.DataFrame(rows, schema=INDEX_TABLE, orient="row")


def write_json(path: Path, body: dict[str, Any]) -> None:
    """Write JSON under a temporary name, fsync, rename: the file is whole or absent."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(body, file, indent=1, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
