"""JSON files of a run: append-only JSONL that survives a crash, and single objects written by rename.

The records of a run carry `step`, which never falls from line to line, so a step is found by bisection of the
file's bytes: nobody reads a long run to see its last step.
"""

from __future__ import annotations

import json
import os
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
        if step is None:
            last = _last_line(file)
            if last is None:
                return []
            step = _step_of(last, path)
        start, end = (_offset_of(file, path, bound) for bound in (step, step + 1))
        file.seek(start)
        return [_record(line, f"{path}, step {step}") for line in file.read(end - start).splitlines()]


def first_and_last_step(path: Path) -> tuple[int, int] | None:
    """The steps of the first and the last whole record; None where there is none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        first, last = file.readline(), _last_line(file)
        return (_step_of(first, path), _step_of(last, path)) if last else None


def cut_back(path: Path, step: int | None = None) -> None:
    """Drop a last line that was cut by a crash, and the records after `step`, which no checkpoint holds.

    The file is truncated in place: a full disk does not stand in the way.
    """
    if not path.is_file():
        return
    with path.open("rb+") as file:
        end = _whole_bytes(file) if step is None else _offset_of(file, path, step + 1)
        if end < os.fstat(file.fileno()).st_size:
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


def _step_of(line: bytes, path: Path) -> int:
    step = _record(line, str(path), ["step"])["step"]
    if type(step) is not int:
        raise UsageError(f"{path}: got step {step!r}, expected a whole number")
    return step


def _offset_of(file: BinaryIO, path: Path, step: int) -> int:
    """Where the first whole line of `step` or a later one begins; the end of the whole lines without one."""
    end = _whole_bytes(file)
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        start = _line_from(file, middle)
        if start >= end or _step_of(file.readline(), path) >= step:
            high = middle
        else:
            low = start + 1
    return min(_line_from(file, low), end)


def _line_from(file: BinaryIO, offset: int) -> int:
    """Where the first line that begins at `offset` or later begins; the file stands there."""
    file.seek(max(0, offset - 1))
    if offset:
        file.readline()
    return file.tell()


def _whole_bytes(file: BinaryIO, block_bytes: int = 1 << 16) -> int:
    """Bytes up to the end of the last whole line."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - block_bytes)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _last_line(file: BinaryIO, block_bytes: int = 1 << 16) -> bytes | None:
    end = start = _whole_bytes(file)
    line = b""
    while start and b"\n" not in line[:-1]:
        start = max(0, start - block_bytes)
        file.seek(start)
        line = file.read(end - start)
    return line[line.rfind(b"\n", 0, -1) + 1 :] or None
