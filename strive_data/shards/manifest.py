"""What a finished shard holds, and what it settles: `shard-000000.json` beside `shard-000000.tar`.

The manifest is the commit marker of its shard (DESIGN.md section 4). Resuming reads nothing but manifests:
every row that a build is done with stands in one, as a sample or as a failure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.errors import DamagedError, FailureKind
from strive_data.schema import INDEX_TABLE, SCHEMA_VERSION, Failure, Question, Stage


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where one sample lies: bytes [offset, offset + length) of its shard, and their sha256.

    `question` is `question_hash` of the annotation row that it was made of.
    """

    sample_id: str
    offset: int
    length: int
    sha256: str
    question: str = ""


@dataclass(frozen=True, kw_only=True)
class FailedRow:
    """One row that was tried and failed; `question` as in Entry."""

    sample_id: str
    question: str
    stage: Stage
    kind: FailureKind
    message: str


@dataclass(frozen=True, kw_only=True)
class PartFile:
    """Size and sha256 of the file that holds the shard's rows of one table."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A finished shard: its bytes, its samples, the rows that failed since the shard before it.

    `attempt` counts the rounds of `--retry-failed`; `unfinished` are the ids of all rows of the video in the
    middle of whose questions the shard was full; `parts` are the files of its table rows, by name.
    """

    schema_version: int
    shard: str
    settings: str
    size_bytes: int
    sha256: str
    attempt: int = 0
    unfinished: tuple[str, ...] = ()
    parts: Mapping[str, PartFile] = field(default_factory=dict)
    failures: tuple[FailedRow, ...] = ()
    samples: tuple[Entry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrailingFailures:
    """`tail.json`: the rows that failed behind the last sample of `shards` shards: none of them tells it."""

    shards: int = 0
    attempt: int = 0
    failures: tuple[FailedRow, ...] = ()


def question_hash(question: Question) -> str:
    """Hash of all that a row asks; another text, answer, option or video gives another."""
    values = [getattr(question, name) for name in Question.__dataclass_fields__]
    return sha256(json.dumps(values).encode()).hexdigest()[:16]


def failed_row_of(failure: Failure, question: Question) -> FailedRow:
    """A failure as the manifest keeps it: without its row number, which may change as rows are added."""
    return FailedRow(
        sample_id=failure.sample_id,
        question=question_hash(question),
        stage=failure.stage,
        kind=failure.kind,
        message=failure.message,
    )


def failure_of(lost: FailedRow, row: int, question: Question) -> Failure:
    """The failure of a row of the annotation as it is now."""
    return Failure(
        sample_id=lost.sample_id,
        row=row,
        video=question.video,
        stage=lost.stage,
        kind=lost.kind,
        message=lost.message,
    )


def manifest_name(shard: str) -> str:
    """Name of the manifest of a tar."""
    return str(Path(shard).with_suffix(".json"))


def shard_name(number: int) -> str:
    """Name of the tar of this number."""
    return f"shard-{number:06d}.tar"


def as_body(record: Manifest | TrailingFailures) -> dict[str, Any]:
    """The JSON object of a manifest or a tail."""
    return asdict(record)


def read_manifest(path: Path) -> Manifest:
    """The manifest at `path`. Raises DamagedError where it is none of this schema version."""
    body = _object(path)
    if body.get("schema_version") != SCHEMA_VERSION:
        raise DamagedError(f"{path}: no manifest of schema version {SCHEMA_VERSION}")
    try:
        plain = {f.name: body[f.name] for f in fields(Manifest) if f.name not in ("parts", *_NESTED)}
        plain["unfinished"] = tuple(plain["unfinished"])
        parts = {name: PartFile(**part) for name, part in body["parts"].items()}
        samples = tuple(Entry(**entry) for entry in body["samples"])
        return Manifest(**plain, parts=parts, failures=_lost(body["failures"]), samples=samples)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(f"{path}: no manifest of a shard of this version ({error!r})") from error


def read_trailing_failures(path: Path) -> TrailingFailures:
    """The tail at `path`, empty where there is none. Raises DamagedError where it is none of a build."""
    if not path.is_file():
        return TrailingFailures()
    body = _object(path)
    try:
        return TrailingFailures(
            shards=body["shards"], attempt=body["attempt"], failures=_lost(body["failures"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{path}: not the list of failures of a build ({error!r})") from error


def index_of(manifests: Sequence[Manifest]) -> pl.DataFrame:
    """The index table of a build, in the order of the shards."""
    rows = [
        (entry.sample_id, manifest.shard, entry.offset, entry.length, entry.sha256)
        for manifest in manifests
        for entry in manifest.samples
    ]
    return pl.DataFrame(rows, schema=INDEX_TABLE, orient="row")


_NESTED = ("failures", "samples")


def _lost(rows: Sequence[Mapping[str, Any]]) -> tuple[FailedRow, ...]:
    return tuple(FailedRow(**{**row, "kind": FailureKind(row["kind"])}) for row in rows)


def _object(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(f"{path} cannot be read: {error}") from error
    if not isinstance(body, dict):
        raise DamagedError(f"{path}: not a JSON object")
    return body
