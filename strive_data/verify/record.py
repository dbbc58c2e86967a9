"""`run.json` against the files of the folder: which are missing, changed, or not part of the build."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from strive_data.common.files import file_sha256
from strive_data.common.settings import as_dict, fingerprint, load
from strive_data.config import BuildSettings
from strive_data.errors import DamagedError, SettingsError, StriveError
from strive_data.shards.build_state import read_build_file
from strive_data.shards.names import (
    BUILD_FILE,
    PASS_RATES_FILE,
    RUN_FILE,
    TABLE_FILES,
    is_manifest,
    manifest_name,
    shard_name,
    shard_of,
)
from strive_data.shards.provenance import CHECKSUM_KEY, FILES
from strive_data.shards.reader import read_run

T = TypeVar("T")

RESTORE = "restore the file from a copy, or build again"
REMOVE = "remove it"
# Files that people put into a build: reports, plots, exported rows, notes.
OTHER_SUFFIXES = frozenset({".csv", ".html", ".md", ".pdf", ".png", ".svg", ".txt"})


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem: `file` is a name in the build's folder, `offset` a byte in it, `remedy` what to do."""

    file: str
    what: str
    sample_id: str | None = None
    offset: int | None = None
    remedy: str = RESTORE

    def __str__(self) -> str:
        sample = "" if self.sample_id is None else f", sample {self.sample_id!r}"
        byte = "" if self.offset is None else f", byte {self.offset}"
        return f"{self.file}{sample}{byte}: {self.what}; {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A sound `run.json`: `files` maps every file name except those of tars and its own to a sha256."""

    settings: BuildSettings
    counts: Mapping[str, int]
    files: Mapping[str, str]

    @property
    def shards(self) -> list[str]:
        """Names of the tars, from the listed manifests."""
        return sorted(shard_of(name) or "" for name in self.files if is_manifest(name))


def read_record(folder: Path) -> Record:
    """Read `run.json`. Raises UsageError if there is none, DamagedError if it is not as it was written."""
    body = read_run(folder)
    path = folder / RUN_FILE
    if CHECKSUM_KEY not in body:
        raise DamagedError(f"{path} has no checksum of its own")
    try:
        settings = load(BuildSettings, options=body["settings"])
    except SettingsError as error:
        raise DamagedError(f"{path} has settings of another version: {error}") from error
    if body["settings"] != as_dict(settings) or body.get("settings_fingerprint") != fingerprint(settings):
        raise DamagedError(f"{path}: settings_fingerprint is not that of its settings")
    return Record(settings=settings, files=_mapping(body, FILES, str), counts=_mapping(body, "counts", int))


def file_problems(folder: Path, record: Record) -> Iterator[Problem]:
    """Files that are missing or changed, and files that `run.json` should list."""
    manifests = (manifest_name(shard_name(number)) for number in range(len(record.shards)))
    for name in (*TABLE_FILES, BUILD_FILE, *manifests):
        if name not in record.files:
            yield Problem(file=RUN_FILE, what=f"it does not list {name}")
    for name, digest in record.files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            yield Problem(file=name, what=f"{RUN_FILE} lists it, but there is no such file")
        elif file_sha256(path) != digest:
            yield Problem(file=name, what=f"it does not have the sha256 of {RUN_FILE}")


def settings_problems(folder: Path, record: Record) -> Iterator[Problem]:
    """Settings in `build.json` that differ from those in `run.json`."""
    try:
        body = read_build_file(folder / BUILD_FILE)
        started = fingerprint(load(BuildSettings, options=body["settings"]))
    except StriveError as error:
        yield Problem(file=BUILD_FILE, what=str(error).removeprefix(f"{folder / BUILD_FILE} "))
        return
    if not started == body.get("settings_fingerprint") == fingerprint(record.settings):
        yield Problem(file=BUILD_FILE, what=f"its settings are not those of {RUN_FILE}")


def extra_file_problems(folder: Path, record: Record) -> Iterator[Problem]:
    """Files and folders that are not part of the build; reports and notes of people are accepted."""
    known = {RUN_FILE, PASS_RATES_FILE, *record.files, *record.shards}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in known:
            continue
        if entry.name.startswith(".") or entry.name.endswith((".tmp", ".part")):
            yield Problem(file=entry.name, what="a file of an interrupted command", remedy=REMOVE)
        elif shard_of(entry.name):
            yield Problem(file=entry.name, what=f"a shard that {RUN_FILE} does not list", remedy=REMOVE)
        elif entry.is_dir() or Path(entry.name).suffix not in OTHER_SUFFIXES:
            remedy = f"{REMOVE}, or move it to another folder"
            yield Problem(file=entry.name, what="not part of a build", remedy=remedy)


def _mapping(body: Mapping[str, Any], key: str, kind: type[T]) -> Mapping[str, T]:
    value = body.get(key)
    if isinstance(value, Mapping) and all(type(entry) is kind for entry in value.values()):
        return value
    raise DamagedError(f"{RUN_FILE} has no {key}")
