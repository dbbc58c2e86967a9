"""Read the finished shards of a build, sample by sample, in any order, every byte checked."""

from __future__ import annotations

import json
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.errors import StriveError, UsageError
from strive_data.sample_tar import decode_sample
from strive_data.schema import SCHEMA_VERSION, Sample

RUN_FILE = "run.json"
INDEX_FILE = "index.parquet"


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
