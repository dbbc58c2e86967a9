"""Read the finished shards of a build, sample by sample, in any order, every byte checked."""

from __future__ import annotations

import io
import json
import os
from collections import defaultdict
from hashlib import sha256
from itertools import groupby
from pathlib import Path, PurePosixPath
from threading import Lock, get_ident
from typing import Any

import polars as pl

from strive_data.common.storage import Folder, LocalFolder, open_folder
from strive_data.errors import DamagedError, StriveError, UsageError
from strive_data.schema import INDEX_TABLE, SCHEMA_VERSION, Sample
from strive_data.shards.checksums import CHECKSUM_KEY, FILES, checksum_matches
from strive_data.shards.format import decode_sample

# Whole shards of a remote build kept in a local folder, each checked against its manifest once it is there.
#
# The local copies live under the build's fingerprint, so that another build never hits; nothing is deleted.

CHUNK_BYTES = 8 << 20


class ShardCache:
    """A Folder whose shards are fetched whole, once, into `local`; every other file is read where it is.

    Threads that want the same shard wait for one download; processes may fetch it twice, and one wins.
    """

    def __init__(self, inner: Folder, local: Path) -> None:
        self.inner = inner
        self.local = LocalFolder(local)
        self._locks: dict[str, Lock] = defaultdict(Lock)

    def __str__(self) -> str:
        return str(self.inner)

    def read(self, name: str) -> bytes:
        """See Folder."""
        return self.inner.read(name)

    def read_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        """See Folder; the first range of a shard fetches the shard."""
        with self._locks[name]:
            if not self.local.exists(name):
                self._fetch(name)
        return self.local.read_range(name, offset, size_bytes)

    def exists(self, name: str = "") -> bool:
        """See Folder."""
        return self.inner.exists(name)

    def size_bytes(self, name: str) -> int:
        """See Folder."""
        return self.inner.size_bytes(name)

    def names(self) -> list[str]:
        """See Folder."""
        return self.inner.names()

    def _fetch(self, name: str) -> None:
        """Download a shard under a temporary name; it takes its own when its bytes are the manifest's."""
        size_bytes, expected = self._manifest(name)
        self._make_room(name)
        target = self.local.path / name
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{get_ident()}")
        digest = sha256()
        try:
            with temporary.open("wb") as file:
                for start in range(0, size_bytes, CHUNK_BYTES):
                    chunk = self.inner.read_range(name, start, min(CHUNK_BYTES, size_bytes - start))
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != expected:
                raise DamagedError(
                    f"{self.inner}/{name} does not have its manifest's checksum: it is damaged"
                )
            temporary.replace(target)
        except OSError as error:
            raise StriveError(f"data.cache: cannot write {target}: {error.strerror}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, name: str) -> None:
        try:
            (self.local.path / name).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StriveError(f"data.cache: cannot make {self.local}: {error.strerror}") from error

    def _manifest(self, name: str) -> tuple[int, str]:
        """(size in bytes, sha256) of a shard by its manifest."""
        manifest = str(PurePosixPath(name).with_suffix(".json"))
        try:
            body = json.loads(self.inner.read(manifest))
            return int(body["size_bytes"]), str(body["sha256"])
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"{self.inner}/{manifest} is not the manifest of a shard") from error


RUN_FILE = "run.json"
INDEX_FILE = "index.parquet"
SHARD_NAME = r"^shard-\d{6,9}\.tar$"
MAX_SAMPLE_BYTES = 1 << 31
TELL_MORE = "`strive-data verify` tells what else is damaged"


class ShardSet:
    """The finished shards of one build, read sample by sample in any order."""

    def __init__(self, folder: Folder, run: dict[str, Any], index: pl.DataFrame, fingerprint: str) -> None:
        self.folder = folder
        self.run = run
        self.fingerprint = fingerprint
        self.sample_ids: list[str] = index["sample_id"].to_list()
        self._entries = index.select("shard", "offset", "length", "sha256")

    @classmethod
    def open(cls, where: Path | str | Folder, cache: Path | None = None) -> ShardSet:
        """Open a finished build in a folder or at a URL. Raises UsageError where it is none.

        Index and run.json are read once; samples by ranges. `cache` is a local folder that keeps the whole
        shards of a remote build. The fingerprint is a hash of the index: the same samples in the same shards.
        """
        folder = open_folder(where)
        run = read_run(folder)
        index = folder.read(INDEX_FILE)
        digest = sha256(index).hexdigest()
        fingerprint = digest[:16]
        if run.get(FILES, {}).get(INDEX_FILE, digest) != digest:
            raise DamagedError(f"{folder}/{INDEX_FILE} does not have the checksum of {RUN_FILE}: {TELL_MORE}")
        if cache and not isinstance(folder, LocalFolder):
            folder = ShardCache(folder, cache / fingerprint)
        return cls(folder, run, _read_index(index, f"{folder}/{INDEX_FILE}"), fingerprint)

    def __len__(self) -> int:
        return self._entries.height

    @property
    def blocks(self) -> tuple[int, ...]:
        """Number of samples of each shard, in the order of the index."""
        return tuple(len(list(run)) for _, run in groupby(self._entries["shard"]))

    def read(self, position: int) -> Sample:
        """The sample at `position` of the index.

        Raises DamagedError, with the shard's name, where its bytes are gone or have changed.
        """
        shard, offset, length, digest = self._entries.row(position)
        block = self.folder.read_range(shard, offset, length)
        if sha256(block).hexdigest() != digest:
            raise DamagedError(
                f"{self.folder}/{shard}: sample {self.sample_ids[position]!r} (bytes {offset} to "
                f"{offset + length}) does not have the checksum of {INDEX_FILE}: the shard is damaged"
            )
        try:
            return decode_sample(block)
        except DamagedError as error:
            where = f"{self.folder}/{shard}: sample {self.sample_ids[position]!r}"
            raise DamagedError(f"{where}, byte {offset}: {error}") from error

    @property
    def settings(self) -> dict[str, Any]:
        """The build's resolved settings."""
        settings: dict[str, Any] = self.run["settings"]
        return settings


def read_run(where: Path | str | Folder) -> dict[str, Any]:
    """The `run.json` of a finished build. Raises UsageError where there is none."""
    folder = open_folder(where)
    path = f"{folder}/{RUN_FILE}"
    if not folder.exists(RUN_FILE):
        if not folder.exists():
            raise UsageError(f"no such folder: {folder} (expected the --out folder of `strive-data build`)")
        raise UsageError(
            f"{folder} has no {RUN_FILE}: it is no build, or a build that did not finish; "
            "run `strive-data build` to its end first"
        )
    content = folder.read(RUN_FILE)
    try:
        run: dict[str, Any] = json.loads(content)
        version = run["schema_version"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not the {RUN_FILE} of `strive-data build`: restore it from a copy, or remove it and "
            "start the build's command again, which makes it anew"
        ) from error
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema version {version}, this package reads {SCHEMA_VERSION}: build again"
        )
    if not isinstance(run.get("settings"), dict):
        raise UsageError(f"{path} is not the {RUN_FILE} of `strive-data build`: it has no settings")
    if CHECKSUM_KEY in run and not checksum_matches(content, run):
        raise DamagedError(f"{path} is not as it was written (its own checksum differs): {TELL_MORE}")
    return run


def _read_index(content: bytes, name: str) -> pl.DataFrame:
    """The index, whose rows name only shards of the folder and samples of a size that can be read."""
    try:
        index = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DamagedError(f"{name} is no table that can be read: {TELL_MORE}") from error
    if index.schema != pl.Schema(INDEX_TABLE):
        raise DamagedError(f"{name} does not have the columns of an index: {TELL_MORE}")
    sound = (
        pl.col("shard").str.contains(SHARD_NAME)
        & (pl.col("offset") >= 0)
        & pl.col("length").is_between(0, MAX_SAMPLE_BYTES)
        & pl.all_horizontal(pl.all().is_not_null())
    )
    wrong = index.filter(~sound.fill_null(False))
    if wrong.height:
        raise DamagedError(f"{name} has a row that is no place in a shard: {str(wrong.row(0))[:200]}")
    return index
