"""Which files lie in the folder of a build that are no part of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strive_data.common.settings import as_dict, fingerprint, identity, load
from strive_data.config import BuildSettings
from strive_data.errors import DamagedError, SettingsError
from strive_data.schema import SCHEMA_VERSION
from strive_data.shards.build_state import BUILD_FILE
from strive_data.shards.checksums import CHECKSUM_KEY, FILES, checksum_matches, file_sha256
from strive_data.shards.finalize import TABLE_FILES
from strive_data.shards.manifest import Entry, Manifest, PartFile, manifest_name, read_manifest, shard_name
from strive_data.shards.reader import RUN_FILE
from strive_data.verify.problem import REMOVE, Problem

# The manifest of a shard, with every value of the type that it must have: nothing in it is trusted yet.

SHARD = re.compile(r"shard-\d{6,}\.tar")


def checked_manifest(path: Path) -> Manifest:
    """The manifest at `path`. Raises DamagedError where it is absent, cut or no manifest."""
    manifest = read_manifest(path)
    sound = (
        _is_file(manifest.size_bytes, manifest.sha256)
        and isinstance(manifest.shard, str)
        and isinstance(manifest.settings, str)
        and all(isinstance(name, str) for name in manifest.unfinished)
        and all(_is_part(part) for part in manifest.parts.values())
        and all(_is_entry(entry) for entry in manifest.samples)
    )
    if not sound:
        raise DamagedError(f"{path}: no manifest of a shard: a value is of another type")
    return manifest


def _is_part(part: PartFile) -> bool:
    return _is_file(part.size_bytes, part.sha256)


def _is_entry(entry: Entry) -> bool:
    texts = isinstance(entry.sample_id, str) and isinstance(entry.question, str)
    return texts and type(entry.offset) is int and _is_file(entry.length, entry.sha256)


def _is_file(size_bytes: object, digest: object) -> bool:
    return type(size_bytes) is int and size_bytes >= 0 and isinstance(digest, str)


# `run.json`: whether it is as it was written, what it says, and whether the files it names are there.

COUNTS = ("samples", "videos", "shards", "failures", "candidates", "frames", "bytes")


@dataclass(frozen=True, kw_only=True)
class Record:
    """What `run.json` says: `files` are sha256 by name, of every file but the tars and itself."""

    settings: BuildSettings
    fingerprint: str
    counts: Mapping[str, int]
    files: Mapping[str, str]

    @property
    def shards(self) -> list[str]:
        """Names of the tars, by the manifests that are named."""
        tars = (str(Path(name).with_suffix(".tar")) for name in self.files if name.endswith(".json"))
        return sorted(tar for tar in tars if SHARD.fullmatch(tar))


def read_record(folder: Path) -> tuple[Record, list[Problem]]:
    """The record, and what is wrong with it. Raises DamagedError where nothing can be checked by it."""
    content = _content(folder / RUN_FILE)
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{RUN_FILE}: not JSON ({error}), so nothing can be checked by it") from error
    if not isinstance(body, dict) or body.get("schema_version") != SCHEMA_VERSION:
        raise DamagedError(
            f"{RUN_FILE}: not of schema version {SCHEMA_VERSION}, so nothing can be checked by it"
        )
    if not isinstance(body.get("settings"), dict):
        raise DamagedError(f"{RUN_FILE}: it has no settings, so nothing can be checked by it")
    try:
        settings = load(BuildSettings, options=body["settings"])
    except SettingsError as error:
        raise DamagedError(f"{RUN_FILE}: no settings of this version: {error}") from error
    record = Record(
        settings=settings,
        fingerprint=fingerprint(settings),
        counts=_texts_to(int, body.get("counts")),
        files=_texts_to(str, body.get(FILES)),
    )
    return record, [Problem(file=RUN_FILE, what=what) for what in _wrong(content, body, record)]


def file_problems(folder: Path, record: Record) -> Iterator[Problem]:
    """Files that the record names and that are gone or changed, and files that it should name."""
    for name in (*TABLE_FILES, BUILD_FILE):
        if name not in record.files:
            yield Problem(file=RUN_FILE, what=f"it does not name {name}")
    for number in range(max(record.counts.get("shards", 0), len(record.shards))):
        if manifest_name(shard_name(number)) not in record.files:
            yield Problem(file=RUN_FILE, what=f"it does not name {manifest_name(shard_name(number))}")
    for name, digest in record.files.items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            yield Problem(file=name, what=f"{RUN_FILE} names it, but there is no such file")
        elif file_sha256(path) != digest:
            yield Problem(file=name, what=f"its bytes do not have the sha256 of {RUN_FILE}")


def begun_problems(folder: Path, record: Record) -> Iterator[Problem]:
    """What `build.json`, written when the build began, says of its settings."""
    try:
        body = json.loads((folder / BUILD_FILE).read_bytes())
        begun = load(BuildSettings, options=body["settings"])
        same = body["settings_fingerprint"] == record.fingerprint and identity(begun) == identity(
            record.settings
        )
    except SettingsError as error:
        yield Problem(file=BUILD_FILE, what=f"not what a build writes first: {error}")
        return
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        yield Problem(file=BUILD_FILE, what=f"not what a build writes first ({error!r})")
        return
    if not same:
        yield Problem(file=BUILD_FILE, what=f"the build began with other settings than {RUN_FILE} says")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "it is no build, or one that did not finish: run `strive-data build` to its end"
        raise DamagedError(f"{path.name}: cannot be read ({error.strerror}); {hint}") from error


def _wrong(content: bytes, body: Mapping[str, Any], record: Record) -> Iterator[str]:
    if CHECKSUM_KEY not in body:
        yield "it has no checksum of its own"
    elif not checksum_matches(content, body):
        yield "it is not as it was written (its own checksum differs)"
    if body["settings"] != as_dict(record.settings):
        yield "its settings are not complete"
    written = body.get("settings_fingerprint")
    if written != record.fingerprint:
        yield f"settings_fingerprint: {written}, its settings give {record.fingerprint}"
    if not isinstance(body.get("versions"), dict) or type(body.get("seconds")) not in (int, float):
        yield "versions or seconds are missing"
    lacking = [name for name in COUNTS if name not in record.counts]
    if lacking:
        yield f"counts: {', '.join(lacking)} missing"


def _texts_to(kind: type[Any], value: object) -> dict[str, Any]:
    """The entries of an object that are of that type; what is not is missed later, by name."""
    entries = value.items() if isinstance(value, Mapping) else ()
    return {name: entry for name, entry in entries if type(entry) is kind}


# What people put beside: reports, plots, exported rows, notes.
PEOPLES_OWN = frozenset({".csv", ".html", ".md", ".pdf", ".png", ".svg", ".txt"})


def stray_problems(folder: Path, record: Record) -> Iterator[Problem]:
    """Temporary files, folders, and shards, tables and JSON that `run.json` does not name."""
    known = {RUN_FILE, *record.files, *record.shards}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in known:
            continue
        if entry.name.startswith(".") or entry.name.endswith((".tmp", ".part")):
            yield Problem(file=entry.name, what="left by a run that was interrupted", todo=REMOVE)
        elif SHARD.fullmatch(entry.name) or SHARD.fullmatch(str(Path(entry.name).with_suffix(".tar"))):
            yield Problem(file=entry.name, what=f"a shard that {RUN_FILE} does not name", todo=REMOVE)
        elif entry.is_dir() or Path(entry.name).suffix not in PEOPLES_OWN:
            yield Problem(file=entry.name, what="no part of a build", todo=f"{REMOVE}, or keep it elsewhere")
