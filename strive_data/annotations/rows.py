"""CSV text → one mapping or one reason a row; a wrong row costs no other one.

Not polars: it reads a file or refuses it, and with errors ignored it turns them into nulls.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import polars as pl

from strive_data.errors import FailureKind, SampleError, UsageError

# Annotation file → its rows, each with its place: JSON, JSON lines, CSV, parquet.
#
# JSON and CSV are parsed row by row with the standard library, not by a table reader: one type for a whole
# column would turn one wrong row into a lost file, or into a null. A parquet column has one type by itself,
# so
# polars reads that.

EXPECTED = "expected a JSON list or JSON lines, a CSV or a parquet file whose layout a recipe knows"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One row and where it stands; `value` is a SampleError for one that cannot be parsed.

    `row` counts from 0 in its list or table. `textual`: all its values are texts, for want of anything else.
    """

    path: Path
    place: str
    row: int
    value: object
    textual: bool = False


@dataclass(frozen=True, kw_only=True)
class RowFile:
    """The rows of one file; `tree` is the object that a JSON file consists of, which may hold rows deeper."""

    path: Path
    sha256: str
    items: tuple[Item, ...]
    tree: Mapping[str, object] | None = None


def columns_of(items: Iterable[Item]) -> set[str]:
    """Every field that some row has."""
    return {str(name) for item in items if isinstance(item.value, Mapping) for name in item.value}


def read_rows(path: Path) -> RowFile:
    """Read one file. Raises UsageError for one that is absent, empty, or no file of rows as a whole."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise UsageError(f"annotation {path}: {error.strerror}; {EXPECTED}") from error
    digest = sha256(body).hexdigest()
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise _unusable(path, "is empty")
    tree: Mapping[str, object] | None = None
    if path.suffix.lower() == ".csv":
        items = _csv_items(path, body)
    elif path.suffix.lower() in (".parquet", ".pq"):
        items = _parquet_items(path, body)
    elif body.lstrip().startswith(b"[") and (listed := _list_items(path, body)):
        items = listed
    else:
        tree = _indented(body)
        if tree is None:
            items = list(_line_items(path, body))
            tree = _tree(path, body, items)
        if tree is not None:
            items = [Item(path=path, place=f"{path.name} line 1", row=0, value=tree)]
    return RowFile(path=path, sha256=digest, items=tuple(items), tree=tree)


def nested_items(path: Path, tree: Mapping[str, object], steps: str) -> Iterator[Item]:
    """The rows that `steps` ("{video_id}/{dimension}") lead to; what is not as they say is one bad item."""
    yield from _descend(path, tree, steps.split("/"), {}, [])


def _descend(
    path: Path, value: object, steps: Sequence[str], names: Mapping[str, str], keys: Sequence[str]
) -> Iterator[Item]:
    place = f"{path.name} {'/'.join(keys)}"
    wanted = "an object" if steps else "a list of rows"
    if isinstance(value, SampleError) or not isinstance(value, Mapping if steps else list):
        problem = value.message if isinstance(value, SampleError) else f"expected {wanted}"
        yield Item(path=path, place=place, row=0, value=_bad(problem))
    elif isinstance(value, Mapping):
        step, rest = steps[0], steps[1:]
        if not step.startswith("{"):
            if step in value:
                yield from _descend(path, value[step], rest, names, [*keys, step])
            else:
                yield Item(path=path, place=place, row=0, value=_bad(f"{step} is missing"))
            return
        for key, below in value.items():
            yield from _descend(path, below, rest, {**names, step.strip("{}"): key}, [*keys, key])
    elif isinstance(value, list):
        for row, fields in enumerate(value):
            merged = {**fields, **names} if isinstance(fields, Mapping) else fields
            yield Item(path=path, place=f"{place} item {row}", row=row, value=merged)


def _csv_items(path: Path, body: bytes) -> list[Item]:
    # A byte that is not UTF-8 becomes a lone surrogate, which no text field may hold: it costs its row alone.
    text = body.decode("utf-8", "surrogateescape")
    items = [
        Item(path=path, place=f"{path.name} line {line}", row=row, value=value, textual=True)
        for row, (line, value) in enumerate(csv_rows(text, str(path)))
    ]
    if not items:
        raise _unusable(path, "has a header and no rows")
    return items


def _parquet_items(path: Path, body: bytes) -> list[Item]:
    try:
        table = pl.read_parquet(io.BytesIO(body))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unusable(path, f"is not a parquet file that can be read ({error})") from error
    if table.is_empty():
        raise _unusable(path, "has no rows")
    # A null is how a table says that a row has no such field.
    rows = ({k: v for k, v in row.items() if v is not None} for row in table.iter_rows(named=True))
    return [
        Item(path=path, place=f"{path.name} row {number}", row=number, value=row)
        for number, row in enumerate(rows)
    ]


def _list_items(path: Path, body: bytes) -> list[Item]:
    """Rows of a JSON list; none where it is rather a file of lines whose first one is broken."""
    try:
        rows = json_value(body)
    except SampleError as error:
        values = [item.value for item in _line_items(path, body)]
        if 2 * sum(isinstance(value, Mapping) for value in values) >= len(values):
            return []
        raise _unusable(path, error.message) from error
    if not isinstance(rows, list) or not rows:
        raise _unusable(path, "the list is empty")
    return [
        Item(path=path, place=f"{path.name} item {number}", row=number, value=row)
        for number, row in enumerate(rows)
    ]


def _line_items(path: Path, body: bytes) -> Iterator[Item]:
    # Bytes, since a text would also be cut at U+2028 and its like, which JSON allows within a string.
    row = 0
    for line, raw in enumerate(body.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            value = json_value(raw)
        except SampleError as error:
            value = error
        yield Item(path=path, place=f"{path.name} line {line}", row=row, value=value)
        row += 1


def _indented(body: bytes) -> Mapping[str, object] | None:
    """The object that a body of many lines is, told by a first line that is no value: without a look at each
    of its lines."""
    first, more, _ = body.lstrip().partition(b"\n")
    if not more or first.strip() != b"{":
        return None
    try:
        whole = json_value(body)
    except SampleError:
        return None
    return whole if isinstance(whole, Mapping) else None


def _tree(path: Path, body: bytes, items: Sequence[Item]) -> Mapping[str, object] | None:
    """The one object that the whole body is, if it is one. Refuses a file without any object in it, rather
    than give one failure for each of its lines."""
    if len(items) == 1 and isinstance(items[0].value, Mapping):
        return items[0].value
    no_row = not any(isinstance(item.value, Mapping) for item in items)
    whole = _whole(path, body) if no_row or isinstance(items[0].value, SampleError) else None
    if no_row and whole is None:
        raise _unusable(path, "no line is a JSON object")
    return whole


def _whole(path: Path, body: bytes) -> Mapping[str, object] | None:
    try:
        whole = json_value(body)
    except SampleError:
        return None
    if isinstance(whole, SampleError):
        raise _unusable(path, whole.message)
    return whole if isinstance(whole, Mapping) else None


def json_value(raw: bytes) -> object:
    """JSON value of `raw`; SampleError (bad_row) for anything that is none, however it fails."""
    try:
        return json.loads(raw.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise _bad(f"not UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise _bad(f"broken JSON: {error}") from error


def _object(pairs: list[tuple[str, object]]) -> dict[str, object] | SampleError:
    """The object, or in its place the reason why it is none: JSON readers would keep the last of two equal
    keys and drop what the first one said."""
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    return _bad(f"the key {twice[:40]!r} stands twice in one object")


def _bad(message: str) -> SampleError:
    return SampleError(FailureKind.BAD_ROW, message)


def _unusable(path: Path, problem: str) -> UsageError:
    colon = "" if problem.startswith(("is ", "has ")) else ":"
    return UsageError(f"annotation {path}{colon} {problem}; {EXPECTED}")


def csv_rows(text: str, name: str) -> Iterator[tuple[int, dict[str, str] | SampleError]]:
    """(line on which it begins, row) of each row below the header, blank lines aside.

    `name` is the file's, for messages. A row holds its cells that are not empty. A quote that is never
    closed would swallow the rows below; so reading goes on at the line after the one on which a wrong row
    began. Raises UsageError for a bad header.
    """
    lines = _Lines(text)
    header = _header(lines, name)
    while lines.left:
        start = lines.position
        try:
            cells = lines.record()
        except csv.Error as error:
            lines.go_to(start + 1)
            yield start + 1, SampleError(FailureKind.BAD_ROW, f"broken CSV: {error}")
            continue
        if len(cells) == len(header):
            row = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
            yield start + 1, row
        elif cells:
            lines.go_to(start + 1)
            message = f"broken CSV: got {len(cells)} cells, expected {len(header)} as in the header"
            yield start + 1, SampleError(FailureKind.BAD_ROW, message)


class _Lines:
    """The lines of a text, read as CSV from any of them on."""

    def __init__(self, text: str) -> None:
        # "\n" alone: a text's own line separators may stand in a cell.
        self._lines = [f"{line}\n" for line in text.split("\n")]
        if self._lines[-1] == "\n":
            self._lines.pop()
        self.go_to(0)

    @property
    def left(self) -> bool:
        return self.position < len(self._lines)

    def go_to(self, position: int) -> None:
        self.position = position
        self._reader = csv.reader(self._feed(), strict=True)

    def record(self) -> list[str]:
        return next(self._reader)

    def _feed(self) -> Iterator[str]:
        while self.left:
            self.position += 1
            yield self._lines[self.position - 1]


def _header(lines: _Lines, name: str) -> list[str]:
    cells: list[str] = []
    try:
        while not cells and lines.left:
            cells = [cell.strip() for cell in lines.record()]
    except csv.Error as error:
        raise UsageError(f"annotation {name}: the CSV header cannot be read: {error}") from error
    if not all(cell.isprintable() for cell in cells):
        raise UsageError(f"annotation {name}: the CSV header {','.join(cells)!a} is no list of names")
    if "" in cells or len({*cells}) < len(cells):
        wrong = "a name is empty" if "" in cells else "a name stands twice"
        raise UsageError(f"annotation {name}: {wrong} in the CSV header {', '.join(cells)}")
    return cells
