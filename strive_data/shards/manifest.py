"""The files of a build by name, manifests, and what protects the files.

`shard-000000.json` says what `shard-000000.tar` holds; it is the commit marker of its shard. Resuming reads
manifests only: every row that a build has finished is in one of them or in tail.json, as a sample or as a
failure. `run.json` holds the sha256 of all tables and manifests, these hold those of the shards, and the last
key of `run.json` holds its own: one flipped byte anywhere in a build breaks a link of that chain.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import polars as pl

from strive_data import SCHEMA_VERSION, __version__
from strive_data.common.files import file_sha256, read_regular_file
from strive_data.common.settings import typed
from strive_data.errors import DamagedError, FailureKind, SettingsError
from strive_data.schema import INDEX_TABLE, FailedRow

TRAILING_FILE = "tail.json"
"""Rows that failed after the last sample; absent if there are none."""
SAMPLES_FILE, FRAMES_FILE, FAILURES_FILE = "samples.parquet", "frames.parquet", "failures.parquet"
INDEX_FILE = "index.parquet"
VIDEOS_FILE = "videos.json"
"""Sizes and times of the videos' files (build/source_files.py); not part of what a build holds."""
REPORT_FILE, CHOSEN_REPORT_FILE = "report.html", "report-chosen.html"
"""Written beside a build by `strive-data report`; not part of it."""
TABLE_FILES = (SAMPLES_FILE, FRAMES_FILE, FAILURES_FILE, INDEX_FILE)

SHARD = r"shard-\d{6,9}"
SHARD_TAR = rf"^{SHARD}\.tar$"
_SHARD_FILE = re.compile(rf"({SHARD})\.(tar|json|samples\.parquet|frames\.parquet)")


def shard_name(number: int) -> str:
    """Name of the tar of this number."""
    return f"shard-{number:06d}.tar"


def manifest_name(shard: str) -> str:
    """Name of the manifest of a tar."""
    return f"{shard.removesuffix('.tar')}.json"


def part_name(shard: str, table: str) -> str:
    """Name of the file that holds the rows of a tar in a table."""
    return f"{shard.removesuffix('.tar')}.{table}.parquet"


def shard_of(name: str) -> str | None:
    """The tar that a file belongs to; None for a file of no shard."""
    found = _SHARD_FILE.fullmatch(name)
    return f"{found.group(1)}.tar" if found else None


def is_manifest(name: str) -> bool:
    """Whether it is the name of a manifest."""
    return name.endswith(".json") and shard_of(name) is not None


MAX_JSON_BYTES = 1 << 30
# Keys of a failed row in JSON, and its fields.
FAILURE_KEYS = {name: name for name in ("sample_id", "question", "stage", "kind", "message")}
FAILURE_KEYS["question"] = "question_hash"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where one sample is: bytes [offset, offset + length) of its shard, and their sha256.

    `question` is the `question_hash` of its row of the annotation.
    """

    sample_id: str
    offset: int
    length: int
    sha256: str
    question: str = ""


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """Size and sha256 of the file with the shard's rows of one table."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A finished shard: its bytes, its samples, and the rows that failed since the previous shard.

    `attempt` is the round of `--retry-failed`. If the shard became full between two questions of a video,
    `unfinished` holds the ids of all rows of that video. `parts` are the files of its table rows, by name.
    """

    schema_version: int
    shard: str
    settings: str
    size_bytes: int
    sha256: str
    attempt: int = 0
    unfinished: tuple[str, ...] = ()
    parts: dict[str, PartFile] = field(default_factory=dict)
    failures: tuple[FailedRow, ...] = ()
    samples: tuple[Entry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrailingFailures:
    """`tail.json`: the rows that failed after the last sample of the first `shards` shards."""

    shards: int = 0
    attempt: int = 0
    failures: tuple[FailedRow, ...] = ()


def as_body(record: Manifest | TrailingFailures) -> dict[str, Any]:
    """The JSON object of a manifest or of tail.json."""
    failures = [{key: getattr(row, name) for key, name in FAILURE_KEYS.items()} for row in record.failures]
    # `failures` keeps its place among the keys.
    return asdict(record) | {"failures": failures}


def read_manifest(path: Path) -> Manifest:
    """The manifest at `path`. Raises DamagedError if it is not a manifest of this schema version."""
    body = _read_object(path)
    if body.get("schema_version") != SCHEMA_VERSION:
        raise DamagedError(f"{path}: not a manifest of schema version {SCHEMA_VERSION}")
    try:
        failures = _failed_rows(body["failures"], body["attempt"])
        plain = {name: body[name] for name in Manifest.__dataclass_fields__}
        manifest = replace(typed(Manifest, plain | {"failures": ()}), failures=failures)
    except (SettingsError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"{path}: not a manifest of this schema version ({error!r})") from error
    sizes = [part.size_bytes for part in manifest.parts.values()]
    sizes += [size for entry in manifest.samples for size in (entry.offset, entry.length)]
    if min(manifest.attempt, manifest.size_bytes, *sizes) < 0:
        raise DamagedError(f"{path}: not a manifest: a size below 0")
    return manifest


def read_trailing_failures(path: Path) -> TrailingFailures:
    """tail.json at `path`, empty if there is no file. Raises DamagedError for another content."""
    if not path.is_file():
        return TrailingFailures()
    body = _read_object(path)
    try:
        shards, attempt = int(body["shards"]), int(body["attempt"])
        return TrailingFailures(
            shards=shards, attempt=attempt, failures=_failed_rows(body["failures"], attempt)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{path}: not the list of trailing failures of a build ({error!r})") from error


def index_of(manifests: Iterable[Manifest]) -> pl.DataFrame:
    """The index table of these shards, in their order."""
    rows = [
        (entry.sample_id, manifest.shard, entry.offset, entry.length, entry.sha256)
        for manifest in manifests
        for entry in manifest.samples
    ]
    return pl.DataFrame(rows, schema=INDEX_TABLE, orient="row")


def _failed_rows(rows: Sequence[Mapping[str, Any]], attempt: int) -> tuple[FailedRow, ...]:
    known = [{name: row[key] for key, name in FAILURE_KEYS.items()} for row in rows]
    return tuple(
        FailedRow(row=-1, video="", attempt=attempt, **row | {"kind": FailureKind(row["kind"])})
        for row in known
    )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(read_regular_file(path, max_bytes=MAX_JSON_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path} cannot be read: {error}") from error
    if not isinstance(body, dict):
        raise DamagedError(f"{path}: not a JSON object")
    return body


PARTS = "parts"
"""Key of the records of the builds that a build was merged from, in run.json and build.json."""
PACKAGES = (
    *("av", "decord", "numpy", "open-clip-torch", "polars", "simplejpeg"),
    *("torch", "torchvision", "transformers", "webdataset"),
)


def package_versions() -> dict[str, str | None]:
    """Versions of this package, of Python and of the packages of all stages; None if not installed."""
    versions: dict[str, str | None] = {"strive": __version__, "python": platform.python_version()}
    return versions | {name: _version(name) for name in PACKAGES}


def file_hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """sha256 of each named file of a folder, in the order of the names."""
    return {name: file_sha256(folder / name) for name in sorted(names)}


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
