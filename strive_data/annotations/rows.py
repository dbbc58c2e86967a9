"""Annotation file → its rows, one after the other: JSON lists and lines, one JSON object, CSV, TSV, parquet.

Rows stream: a file of any length takes the memory of one block. JSON and CSV are parsed row by row and not by
a table reader, which gives a column one type and so loses the file, or the value, to one wrong row. A parquet
column has one type by itself, so polars reads that.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest
from itertools import compress, islice
from pathlib import Path
from typing import NamedTuple

import polars as pl

from strive_data.annotations.delimited import CR_ALONE, FIRST_BYTES, delimited_rows, encoding_of, open_text
from strive_data.annotations.json_values import (
    UnsplittableError,
    json_value,
    list_values,
    or_error,
    quick_values,
)
from strive_data.common.files import near_path, short_names
from strive_data.errors import FailureKind, SampleError, UsageError

EXPECTED = "expected a JSON list, JSON lines, a CSV, a TSV or a parquet file whose layout a recipe knows"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
ROWS_PER_SLICE = 20_000
ROWS_PER_BLOCK = 1000
# Few enough that their values stay near while one step after the other reads them.
BLOCK_BYTES = 1 << 16
# Enough rows to know the columns of a file without reading all of it.
ROWS_FOR_COLUMNS = 1000
LINES_TO_JUDGE = 50

CHARADES = re.compile(rb"(\S+) (\d+(?:\.\d+)?) (\d+(?:\.\d+)?)##(.+)")


class Item(NamedTuple):
    """One row and where it is: `unit` and `number`, which counts from 1, "line" 7; 0 where the unit says all.

    `value` is a SampleError for a row that cannot be parsed. `row` counts from 0 in its list or table.
    `raw` is the JSON of a row that was read quickly: a whole number beyond 2^53 in its value may be a float.
    `turn` is "-0", "-1", … of a question that shares its row with others, and ends its sample's id.
    """

    path: Path
    unit: str
    number: int
    row: int
    value: object
    raw: bytes = b""
    turn: str = ""

    def exact(self) -> Item:
        """The item with its value as it is written."""
        return self._replace(value=or_error(json_value, self.raw), raw=b"") if self.raw else self


class Block(NamedTuple):
    """Rows that follow each other: what their items have, in columns. Steps over a column cost the least."""

    path: Sequence[Path]
    unit: Sequence[str]
    number: Sequence[int]
    row: Sequence[int]
    value: Sequence[object]
    raw: Sequence[bytes]
    turn: Sequence[str]

    def item(self, place: int) -> Item:
        """The item at a place of the block."""
        return Item._make(column[place] for column in self)


class Places:
    """Where the rows of all files lie, for messages: "rows.csv line 7", and "a/rows.csv line 7" where `files`
    has two of this name. Rows count from 0 as they come."""

    def __init__(self, files: Sequence[Path] = ()) -> None:
        self._names = short_names(files)
        self._numbers = array("q")
        # The row from which on places begin with this text.
        self._starts: list[int] = []
        self._texts: list[str] = []
        self._last: tuple[Path, str] | None = None

    def add(self, block: Block) -> None:
        """Note the next rows."""
        path, unit = block.path[:1], block.unit[:1]
        if [block.path.count(*path), block.unit.count(*unit)] != 2 * [len(block.path)]:
            path, unit = block.path, block.unit
        for row, place in enumerate(zip(path, unit, strict=True), len(self._numbers)):
            if place != self._last:
                self._last = place
                self._starts.append(row)
                self._texts.append(f"{self._names.get(place[0], place[0].name)} {place[1]}")
        self._numbers.extend(block.number)

    def __len__(self) -> int:
        """Number of rows noted."""
        return len(self._numbers)

    def of(self, row: int) -> str:
        """The place of a row; its number for one that was not noted."""
        if row >= len(self._numbers):
            return f"row {row + 1}"
        text, number = self._texts[bisect_right(self._starts, row) - 1], self._numbers[row]
        return f"{text} {number}" if number else text


@dataclass(frozen=True)
class JsonText:
    """A file of JSON as UTF-8 bytes, whatever its encoding. `cr_alone`: CR ends its lines."""

    path: Path
    encoding: str
    cr_alone: bool = False

    def lines(self) -> Iterator[list[bytes]]:
        """Its lines, in blocks. Bytes, since a text would also be cut at U+2028 and its like, which JSON
        allows."""
        if self.encoding != "utf-8-sig" or self.cr_alone:
            with open_text(self.path, self.encoding) as text:
                while block := text.readlines(BLOCK_BYTES):
                    yield [line.encode("utf-8", "surrogatepass") for line in block]
            return
        with self.path.open("rb", buffering=BLOCK_BYTES) as file:
            yield [next(file, b"").removeprefix(BYTE_ORDER_MARK)]
            while lines := file.readlines(BLOCK_BYTES):
                yield lines

    def blocks(self) -> Iterator[bytes]:
        """Its content in pieces of about a MiB, without the blanks before it."""
        if self.encoding != "utf-8-sig":
            with open_text(self.path, self.encoding) as text:
                yield text.read(1 << 20).lstrip().encode("utf-8", "surrogatepass")
                while piece := text.read(1 << 20):
                    yield piece.encode("utf-8", "surrogatepass")
            return
        with self.path.open("rb") as file:
            yield file.read(1 << 20).removeprefix(BYTE_ORDER_MARK).lstrip()
            while block := file.read(1 << 20):
                yield block

    def whole(self) -> object:
        """The JSON value of the whole file. Raises SampleError where it is none."""
        return json_value(b"".join(self.blocks()))


@dataclass(frozen=True)
class Rows:
    """The rows of a file; each iteration reads it once more. Those of `blocks` are yet to be made exact."""

    blocks: Callable[[], Iterator[Block]]

    def __iter__(self) -> Iterator[Item]:
        return (item.exact() for item in self.as_read())

    def as_read(self) -> Iterator[Item]:
        """The rows before they are made exact: all that one needs to know their columns."""
        for block in self.blocks():
            yield from map(Item._make, zip(*block, strict=True))


def in_blocks(items: Iterable[Item]) -> Iterator[Block]:
    """The items, a thousand at a time."""
    rest = iter(items)
    while block := list(islice(rest, ROWS_PER_BLOCK)):
        yield Block(*zip(*block, strict=True))


def one_by_one(items: Callable[[], Iterator[Item]]) -> Rows:
    """The rows that a function gives one by one."""
    return Rows(lambda: in_blocks(items()))


@dataclass(frozen=True, kw_only=True)
class RowFile:
    """One annotation file. `tree` is the object that a JSON file consists of, which may hold rows deeper.

    `header` are the columns that a table names. `guesses` say how the file is read where its name does not:
    separator, encoding, index column.
    """

    path: Path
    sha256: str
    items: Rows
    tree: Mapping[str, object] | None = None
    header: frozenset[str] = frozenset()
    guesses: tuple[str, ...] = ()


def columns_of(items: Iterable[Item], first: int | None = None) -> set[str]:
    """Every field of some row, or of the first rows."""
    rows = (item.value for item in islice(items, first))
    return {str(name) for row in rows if isinstance(row, Mapping) for name in row}


PACKED = {
    b"\x1f\x8b": "is compressed by gzip: unpack it",
    b"PK\x03\x04": "is a zip archive, as Excel's files are: unpack it, or save the table as CSV",
}


def read_rows(path: Path) -> RowFile:
    """Open one file. Raises UsageError for one that is absent, empty, or no file of rows as a whole."""
    try:
        with path.open("rb") as file:
            sha256 = file_digest(file, "sha256").hexdigest()
            file.seek(0)
            start = file.read(FIRST_BYTES)
    except OSError as error:
        raise UsageError(f"annotation {path}: {error.strerror}{near_path(path)}; {EXPECTED}") from error
    if not start.removeprefix(BYTE_ORDER_MARK).strip():
        raise _unusable(path, "is empty")
    if packed := [what for mark, what in PACKED.items() if start.startswith(mark)]:
        raise _unusable(path, packed[0])
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        table = delimited_rows(path)
        rows = one_by_one(partial(_table_items, path, table.rows))
        if next(iter(rows), None) is None:
            raise _unusable(path, "has a header and no rows")
        return RowFile(path=path, sha256=sha256, items=rows, header=table.header, guesses=table.guesses)
    if suffix == ".txt" and CHARADES.match(start.split(b"\n")[0]):
        return RowFile(path=path, sha256=sha256, items=one_by_one(partial(_charades_items, path)))
    if suffix in (".parquet", ".pq"):
        rows, columns = _parquet_rows(path), pl.scan_parquet(path).collect_schema().names()
        return RowFile(path=path, sha256=sha256, items=rows, header=frozenset(columns))
    encoding, guesses = encoding_of(path)
    text = JsonText(path, encoding, CR_ALONE in guesses)
    opened = partial(RowFile, path=path, sha256=sha256, guesses=tuple(guesses))
    first = next(text.blocks())
    if first.startswith(b"[") and not _is_lines(text, first):
        return opened(items=Rows(partial(_list_blocks, text)))
    tree = _tree(text)
    if tree is None:
        return opened(items=Rows(partial(_line_blocks, text)))
    if by_name := _columns(tree):
        rows = one_by_one(partial(_rows_of_columns, path, by_name))
        return opened(items=rows, tree=tree, guesses=(*guesses, "an object of columns, not a list of rows"))
    only = Item(path, "line", 1, 0, tree)
    return opened(items=one_by_one(lambda: iter([only])), tree=tree)


def _table_items(
    path: Path, rows: Callable[[], Iterator[tuple[int, Mapping[str, str] | SampleError]]]
) -> Iterator[Item]:
    for row, (line, value) in enumerate(rows()):
        yield Item(path, "line", line, row, value)


def _charades_items(path: Path) -> Iterator[Item]:
    """The lines of Charades-STA, "AO8RW 0.0 6.9##a person is putting a book on a shelf."."""
    with path.open("rb") as file:
        for line, text in enumerate(file, start=1):
            match = CHARADES.match(text)
            names = ("video", "start", "end", "sentence")
            value: object = bad_row("expected VIDEO START END##SENTENCE")
            if match:
                parts = (part.decode("utf-8", "surrogateescape").strip() for part in match.groups())
                value = dict(zip(names, parts, strict=True))
            yield Item(path, "line", line, line - 1, value)


def _parquet_rows(path: Path) -> Rows:
    try:
        count = pl.scan_parquet(path).select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _unusable(path, f"is not a parquet file that can be read ({error})") from error
    if not count:
        raise _unusable(path, "has no rows")
    return one_by_one(partial(_parquet_items, path, count))


def _parquet_items(path: Path, count: int) -> Iterator[Item]:
    for start in range(0, count, ROWS_PER_SLICE):
        try:
            table = pl.scan_parquet(path).slice(start, ROWS_PER_SLICE).collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise _unusable(path, f"is not a parquet file that can be read ({error})") from error
        for row, fields in enumerate(table.iter_rows(named=True), start=start):
            # A null is how a table says that a row has no such field.
            yield Item(path, "row", row + 1, row, {k: v for k, v in fields.items() if v is not None})


def _columns(tree: Mapping[str, object]) -> dict[str, list[object]]:
    """The columns of {"video": {"0": …, "1": …}, …}, as pandas writes a table, or of {"video": […], …}."""
    columns: list[list[object]] = [value for value in tree.values() if isinstance(value, list)]
    tables = [value for value in tree.values() if isinstance(value, dict)]
    if not columns and len({tuple(table) for table in tables}) == 1 and all(map(str.isdigit, tables[0])):
        columns = [[*table.values()] for table in tables]
    cells = [cell for column in columns for cell in column]
    same = len(columns) == len(tree) and len({len(column) for column in columns}) == 1
    return dict(zip(tree, columns, strict=True)) if cells and same and not any(map(is_row, cells)) else {}


def is_row(value: object) -> bool:
    """Whether a value can be a row."""
    return isinstance(value, Mapping)


def _rows_of_columns(path: Path, columns: Mapping[str, list[object]]) -> Iterator[Item]:
    for row, values in enumerate(zip(*columns.values(), strict=True)):
        fields = {name: value for name, value in zip(columns, values, strict=True) if value is not None}
        yield Item(path, "row", row + 1, row, fields)


def _list_blocks(text: JsonText) -> Iterator[Block]:
    row = 0
    try:
        for values in list_values(text.blocks()):
            if values:
                yield _block(text.path, "item", row, values)
                row += len(values)
    except UnsplittableError:
        try:
            whole = text.whole()
        except SampleError as error:
            raise _unusable(text.path, error.message) from error
        if rest := whole[row:] if isinstance(whole, list) else []:
            yield _block(text.path, "item", row, rest)
            row += len(rest)
    if not row:
        raise _unusable(text.path, "the list is empty")


def _block(path: Path, unit: str, first: int, values: Sequence[object]) -> Block:
    """Rows that count from `first`, 0 for the first one of all, whose number is 1."""
    size = len(values)
    rows, numbers = (range(start, start + size) for start in (first, first + 1))
    return Block([path] * size, [unit] * size, numbers, rows, values, [b""] * size, [""] * size)


def _is_lines(text: JsonText, start: bytes) -> bool:
    """Whether a file that begins with [ holds lines, the first of them a list or a broken row."""
    if b"\n" not in start.strip():
        return False
    values = [item.value for item in islice(Rows(partial(_line_blocks, text)), LINES_TO_JUDGE)]
    if isinstance(values[0], list) and len(values) > 1:
        return True
    return 2 * sum(isinstance(value, Mapping) for value in values) >= len(values)


def _line_blocks(text: JsonText) -> Iterator[Block]:
    row = lines = 0
    for raws in text.lines():
        numbers: Sequence[int] = range(lines + 1, lines + len(raws) + 1)
        lines += len(raws)
        if b"" in raws or any(map(bytes.isspace, raws)):
            filled = [not raw.isspace() and raw != b"" for raw in raws]
            numbers, raws = [*compress(numbers, filled)], [*compress(raws, filled)]
        if raws:
            yield _block(text.path, "line", row, quick_values(raws))._replace(number=numbers, raw=raws)
            row += len(raws)


def _tree(text: JsonText) -> Mapping[str, object] | None:
    """The one object that the whole file is, if it is one.

    Raises UsageError for a file without any object, rather than give one failure for each of its lines.
    """
    items = iter(Rows(partial(_line_blocks, text)))
    first, second = next(items), next(items, None)
    if isinstance(first.value, Mapping):
        return first.value if second is None else None
    broken = ""
    try:
        whole = text.whole()
    except SampleError as error:
        whole, broken = None, f"; read as one object: {error.message}"
    if isinstance(whole, Mapping):
        return whole
    if isinstance(whole, SampleError):
        raise _unusable(text.path, whole.message)
    if not any(isinstance(item.value, Mapping) for item in Rows(partial(_line_blocks, text))):
        damage = first.value.message if isinstance(first.value, SampleError) else ""
        reason = f" (line {first.number}: {damage}{broken})" if damage else ""
        raise _unusable(text.path, f"no line is a JSON object{reason}")
    return None


def bad_row(message: str) -> SampleError:
    """What stands in the place of a row that cannot be read."""
    return SampleError(FailureKind.BAD_ROW, message)


def _unusable(path: Path, problem: str) -> UsageError:
    colon = "" if re.match("is |has ", problem) else ":"
    return UsageError(f"annotation {path}{colon} {problem}; {EXPECTED}")
