"""Read the finished shards of a build, sample by sample in any order, every byte checked."""

from __future__ import annotations

import io
import json
import os
from collections import defaultdict
from contextlib import suppress
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from threading import Lock, get_ident
from typing import Any

import polars as pl

from strive_data.common.storage import Folder, LocalFolder, open_folder
from strive_data.errors import DamagedError, StriveError
from strive_data.schema import INDEX_TABLE, Sample
from strive_data.shards.format import decode_sample
from strive_data.shards.manifest import INDEX_FILE, SHARD_TAR, manifest_name
from strive_data.shards.run_file import FILES, RUN_FILE, SEE_VERIFY, read_run

CHUNK_BYTES = 8 << 20
MAX_SAMPLE_BYTES = 1 << 31


class ShardCache:
    """The shards of a Folder, each downloaded whole, once, into `local`.

    A download is checked against its manifest. Threads that need the same shard wait for one download; two
    processes may download it twice. `local` belongs to one build (its fingerprint); nothing is deleted.
    """

    def __init__(self, inner: Folder, local: Path) -> None:
        self.inner = inner
        self.local = LocalFolder(local)
        self._locks: dict[str, Lock] = defaultdict(Lock)

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        """Bytes of a shard; the first range of a shard fetches the shard."""
        with self._locks[name]:
            if not self.local.exists(name):
                self._fetch(name)
        return self.local.read_range(name, offset, size_bytes)

    def _fetch(self, name: str) -> None:
        """Download a shard under a temporary name; rename it when its bytes are those of the manifest."""
        manifest = manifest_name(name)
        try:
            body = json.loads(self.inner.read(manifest))
            size_bytes, expected = int(body["size_bytes"]), str(body["sha256"])
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"{self.inner}/{manifest} is not the manifest of a shard") from error
        target = self.local.path / name
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{get_ident()}")
        digest = sha256()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                for start in range(0, size_bytes, CHUNK_BYTES):
                    chunk = self.inner.read_range(name, start, min(CHUNK_BYTES, size_bytes - start))
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != expected:
                raise DamagedError(
                    f"{self.inner}/{name} does not have the checksum of its manifest: it is damaged"
                )
            temporary.replace(target)
        except OSError as error:
            raise StriveError(f"data.cache: cannot write {target}: {error.strerror}") from error
        finally:
            with suppress(OSError):
                temporary.unlink()


class ShardSet:
    """The finished shards of one build, read sample by sample in any order."""

    def __init__(
        self, folder: Folder, run: dict[str, Any], index: pl.DataFrame, fingerprint: str, cache: Path | None
    ) -> None:
        self.folder, self.run, self.fingerprint = folder, run, fingerprint
        self.sample_ids: list[str] = index["sample_id"].to_list()
        self._entries = index.select("shard", "offset", "length", "sha256")
        self._shards: Folder | ShardCache = folder
        if cache and not isinstance(folder, LocalFolder):
            self._shards = ShardCache(folder, cache / fingerprint)

    @classmethod
    def open(cls, where: Path | str | Folder, cache: Path | None = None) -> ShardSet:
        """Open a finished build in a folder or at a URL. Raises UsageError if there is none.

        Index and run.json are read once; samples by ranges. `cache` is a local folder that keeps the whole
        shards of a remote build. The fingerprint is a hash of the index: the same samples in the same shards.
        """
        folder = open_folder(where)
        run = read_run(folder)
        index = folder.read(INDEX_FILE)
        digest = sha256(index).hexdigest()
        if run.get(FILES, {}).get(INDEX_FILE, digest) != digest:
            raise DamagedError(
                f"{folder}/{INDEX_FILE} does not have the checksum of {RUN_FILE}: {SEE_VERIFY}"
            )
        return cls(folder, run, _read_index(index, f"{folder}/{INDEX_FILE}"), digest[:16], cache)

    def __len__(self) -> int:
        return self._entries.height

    @property
    def blocks(self) -> tuple[int, ...]:
        """Number of samples of each shard, in the order of the index."""
        return tuple(len(list(run)) for _, run in groupby(self._entries["shard"]))

    def read(self, position: int) -> Sample:
        """The sample at `position` of the index.

        Raises DamagedError, with the name of the shard, if its bytes are missing or have changed.
        """
        shard, offset, length, digest = self._entries.row(position)
        block = self._shards.read_range(shard, offset, length)
        where = f"{self.folder}/{shard}: sample {self.sample_ids[position]!r}"
        if sha256(block).hexdigest() != digest:
            raise DamagedError(
                f"{where} (bytes {offset} to {offset + length}) does not have the checksum of {INDEX_FILE}: "
                "the shard is damaged"
            )
        try:
            return decode_sample(block)
        except DamagedError as error:
            raise DamagedError(f"{where}, byte {offset}: {error}") from error

    @property
    def settings(self) -> dict[str, Any]:
        """The build's resolved settings."""
        settings: dict[str, Any] = self.run["settings"]
        return settings


def _read_index(content: bytes, name: str) -> pl.DataFrame:
    """The index, if its rows name only shards of the folder and samples of a possible size."""
    try:
        index = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DamagedError(f"{name} cannot be read as a table: {SEE_VERIFY}") from error
    if index.schema != pl.Schema(INDEX_TABLE):
        raise DamagedError(f"{name} does not have the columns of an index: {SEE_VERIFY}")
    sound = (
        pl.col("shard").str.contains(SHARD_TAR)
        & (pl.col("offset") >= 0)
        & pl.col("length").is_between(0, MAX_SAMPLE_BYTES)
        & pl.all_horizontal(pl.all().is_not_null())
    )
    wrong = index.filter(~sound.fill_null(False))
    if wrong.height:
        raise DamagedError(f"{name} has a row that is not a place in a shard: {str(wrong.row(0))[:200]}")
    return index
