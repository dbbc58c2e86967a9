"""JSON files of a run: append-only JSONL that survives a crash, and single objects written by rename.

The records of a run carry `step`, which never falls from line to line, so a step is found by bisection of the
file's bytes: nobody reads a long run to see its last step.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from strive_data.common.files import write_bytes
from strive_data.errors import UsageError

Record = dict[str, Any]


def append(path: Path, records: Iterable[Record]) -> None:
    """Append one line a record and bring them to the disk. ValueError for numbers that JSON does not have."""
    lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records]
    with path.open("a", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, keys: Sequence[str] = ()) -> list[Record]:
    """All whole records; a last line that was cut by a crash is left out. Empty where there is no file.

    Raises UsageError that names file and line where a line is no JSON object, or lacks one of `keys`.
    """
    return list(scan(path, keys))


def scan(path: Path, keys: Sequence[str] = (), *, holding: bytes = b"") -> Iterator[Record]:
    """As `read`, one record at a time; lines without the bytes `holding` are passed over unread."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n") and holding in line:
                yield _record(line, f"{path}, line {number}", keys)


def of_step(path: Path, step: int | None = None) -> list[Record]:
    """The records of one step, the last one unless given. Empty where there is none."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        whole = _line_start(file, file.seek(0, os.SEEK_END))
        if step is None:
            if not whole:
                return []
            step = _step_at(file, path, whole - 1)
        start = _place_of(file, path, whole, step)
        end = _place_of(file, path, whole, step + 1, start)
        file.seek(start)
        return [_record(line, f"{path}, step {step}") for line in file.read(end - start).splitlines()]


def first_and_last_step(path: Path) -> tuple[int, int] | None:
    """The steps of the first and the last whole record; None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        whole = _line_start(file, file.seek(0, os.SEEK_END))
        return (_step_at(file, path, 0), _step_at(file, path, whole - 1)) if whole else None


def cut_back(path: Path, step: int | None = None) -> None:
    """Drop a last line that was cut by a crash, and the records after `step`, which no checkpoint holds.

    The file is truncated in place: a full disk does not stand in the way.
    """
    if not path.is_file():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        end = _line_start(file, size)
        if step is not None and end and _step_at(file, path, end - 1) > step:
            end = _place_of(file, path, end, step + 1)
        if end < size:
            file.truncate(end)
            os.fsync(file.fileno())


def write_json(path: Path, body: Record) -> None:
    """Write one JSON object by rename, so that a reader sees all of it or nothing."""
    write_bytes(path, (json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def read_json(path: Path, keys: Sequence[str] = ()) -> Record:
    """One JSON object, as `write_json` writes it. Raises UsageError for anything else, or without `keys`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    return _record(content, str(path), keys)


def _record(content: bytes, where: str, keys: Sequence[str] = ()) -> Record:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON: {error}") from error
    if not isinstance(body, dict):
        raise UsageError(f"{where}: a {type(body).__name__}, expected a JSON object")
    absent = [key for key in keys if key not in body]
    if absent:
        raise UsageError(f"{where}: no {', '.join(absent)} in it; the line is not one that a run writes")
    return body


def _place_of(file: BinaryIO, path: Path, whole: int, step: int, first: int = 0) -> int:
    """Where the first line of `step` or a later one begins, from the place `first` on; `whole`, the end of
    the whole lines, without one."""
    return bisect_left(range(whole), step, first, key=lambda place: _step_at(file, path, place))


def _step_at(file: BinaryIO, path: Path, place: int) -> int:
    """The step of the line that holds the byte at this place."""
    file.seek(_line_start(file, place))
    step = _record(file.readline(), str(path), ["step"])["step"]
    if type(step) is not int:
        raise UsageError(f"{path}: got step {step!r}, expected a whole number")
    return step


def _line_start(file: BinaryIO, place: int, block_bytes: int = 1 << 14) -> int:
    """Where the line that holds the byte at this place begins."""
    while place:
        start = max(0, place - block_bytes)
        file.seek(start)
        found = file.read(place - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        place = start
    return 0
