"""Append-only JSONL files of a run, and how they are cut back when a run goes on from a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from strive_data.errors import UsageError


def append(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Append one line a record. ValueError for numbers that JSON does not have."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records)


def read(path: Path) -> list[dict[str, Any]]:
    """All whole records; a last line that was cut by a crash is left out. Empty where there is no file.

    Raises UsageError that names the file and line of anything else that is not JSON.
    """
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_parsed(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def cut_back(path: Path, step: int) -> None:
    """Keep the records up to `step`: those after it were written by steps that no checkpoint holds."""
    kept = [record for record in read(path) if record["step"] <= step]
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(b"")
    append(temporary, kept)
    temporary.replace(path)


def write_json(path: Path, body: dict[str, Any]) -> None:
    """Write one JSON object by rename, so that a reader sees all of it or nothing."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(
        json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8"
    )
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object, as `write_json` writes it. Raises UsageError for anything else."""
    try:
        body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    return body


def _parsed(line: bytes, where: str) -> Any:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{where}: not JSON: {error}") from error
