"""Read the finished shards of a build, sample by sample, in any order, every byte checked."""

from __future__ import annotations

import io
import json
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.errors import DamagedError, UsageError
from strive_data.sample_tar import decode_sample
from strive_data.schema import INDEX_TABLE, SCHEMA_VERSION, Sample
from strive_data.seal import FILES, SEAL, is_sealed
from strive_data.shard_cache import ShardCache
from strive_data.storage import Folder, LocalFolder, open_folder

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
    if SEAL in run and not is_sealed(content, run):
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
