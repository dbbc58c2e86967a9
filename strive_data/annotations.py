"""Annotation files → questions and bad rows.

JSON lists and JSONL in the Video-R1 layout (`question_row` knows the fields). Rows are parsed one by one with
the standard library, not by a table reader: one type for a whole column would turn one wrong row into a lost
file, or into a null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.question_row import question_of, sample_id_of, video_of
from strive_data.schema import Failure, Question

EXPECTED = "expected a JSON list or JSON lines in the Video-R1 layout"


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What the annotation files hold.

    Rows are counted from 0 over all files in the order given, blank lines aside. `questions` are
    (row, question); every other row is in `failures`. `input_sha256` has the hash of each file by its path.
    """

    questions: tuple[tuple[int, Question], ...]
    failures: tuple[Failure, ...]
    input_sha256: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class _Item:
    """One parsed row and where it stands; `value` is a SampleError for one that is not JSON."""

    place: str
    value: object


def read_annotations(paths: Sequence[Path], data_root: Path) -> Annotations:
    """Read all rows of `paths`; videos are looked for below `data_root`, but not opened.

    Of rows with one id the first counts, usable or not; later ones fail as duplicate_id, across files too.
    Raises UsageError for a file that is absent, empty, or not in the layout as a whole.
    """
    if not paths:
        raise UsageError(f"no annotation given; {EXPECTED}")
    questions: list[tuple[int, Question]] = []
    failures: list[Failure] = []
    hashes: dict[str, str] = {}
    first: dict[str, str] = {}
    items: list[_Item] = []
    for path in paths:
        body = _read(path)
        hashes[path.as_posix()] = sha256(body).hexdigest()
        items += _items(path, body)
    for row, item in enumerate(items):
        try:
            questions.append((row, _question(item, data_root, first)))
        except SampleError as error:
            failures.append(_failure(row, item, error))
    return Annotations(questions=tuple(questions), failures=tuple(failures), input_sha256=hashes)


def _question(item: _Item, data_root: Path, first: dict[str, str]) -> Question:
    """The item's question; notes its id in `first`, which holds the place of each id's first row."""
    if isinstance(item.value, SampleError):
        raise item.value
    sample_id = sample_id_of(item.value)
    if sample_id in first:
        message = f"problem_id {sample_id} stands at {first[sample_id]} already"
        raise SampleError(FailureKind.DUPLICATE_ID, message)
    if sample_id:
        first[sample_id] = item.place
    return question_of(item.value, data_root)


def _failure(row: int, item: _Item, error: SampleError) -> Failure:
    return Failure(
        sample_id=sample_id_of(item.value),
        row=row,
        video=video_of(item.value),
        stage="annotation",
        kind=error.kind,
        message=f"{item.place}: {error.message}",
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"annotation {path}: {error.strerror}; {EXPECTED}") from error


def _items(path: Path, body: bytes) -> list[_Item]:
    """All rows of one file: a JSON list if it begins with "[", else one row a line."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise UsageError(f"annotation {path} is empty; {EXPECTED}")
    if body.lstrip().startswith(b"["):
        return _list_items(path, body)
    items = list(_line_items(path, body))
    _check_lines(path, body, items)
    return items


def _list_items(path: Path, body: bytes) -> list[_Item]:
    try:
        rows = _parse(body)
    except SampleError as error:
        raise UsageError(f"annotation {path}: {error.message}; {EXPECTED}") from error
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"annotation {path}: the list is empty; {EXPECTED}")
    return [_Item(place=f"{path.name} item {i}", value=row) for i, row in enumerate(rows)]


def _line_items(path: Path, body: bytes) -> Iterator[_Item]:
    # Bytes, since a text would also be cut at U+2028 and its like, which JSON allows within a string.
    for line, raw in enumerate(body.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            value = _parse(raw)
        except SampleError as error:
            value = error
        yield _Item(place=f"{path.name} line {line}", value=value)


def _check_lines(path: Path, body: bytes, items: Sequence[_Item]) -> None:
    """Refuse a file that is not an annotation at all, rather than give one failure for each of its lines."""
    rows = [item.value for item in items if isinstance(item.value, Mapping)]
    if not rows:
        raise UsageError(f"annotation {path}: no line is a JSON object; {EXPECTED}")
    if _is_one_object(body, items) or (len(items) == 1 and not rows[0].keys() & {"problem_id", "problem"}):
        raise UsageError(f"annotation {path}: one JSON object that is no question; {EXPECTED}")


def _is_one_object(body: bytes, items: Sequence[_Item]) -> bool:
    """Whether the lines are those of one object printed over several of them."""
    if not isinstance(items[0].value, SampleError):
        return False
    try:
        return isinstance(_parse(body), Mapping)
    except SampleError:
        return False


def _parse(raw: bytes) -> object:
    """JSON value of `raw`; SampleError (bad_row) for anything that is none, however it fails."""
    try:
        return json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise SampleError(FailureKind.BAD_ROW, f"not UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise SampleError(FailureKind.BAD_ROW, f"broken JSON: {error}") from error
