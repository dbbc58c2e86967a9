"""CSV and TSV → one mapping or one reason a row; a wrong row costs no other one.

Not polars: it reads a file or refuses it, and with errors ignored it turns them into nulls.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from strive_data.errors import FailureKind, SampleError, UsageError

Row = dict[str, str] | SampleError
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
# The line before the header by which Excel knows the separator. The header shows it too.
NAMED_SEPARATOR = re.compile(r"sep=.?\s*\Z", re.IGNORECASE)
# A byte order mark, or the first character of JSON, which is ASCII.
UTF16_STARTS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"[\0": "utf-16-le", b"{\0": "utf-16-le",
                b"\0[": "utf-16-be", b"\0{": "utf-16-be"}  # fmt: skip
CR_ALONE = "lines end in CR alone"
FIRST_BYTES = 1 << 16
ESCAPED = re.compile("[\udc80-\udcff]")
BEYOND_ASCII = re.compile("[^\x00-\x7f\ud800-\udfff]")
NOT_LATIN1 = re.compile("[\0\udc81\udc8d\udc8f\udc90\udc9d]")
# Bytes that are no character become a lone surrogate, which no text may hold: they cost their row alone.
codecs.register_error("lone-surrogate", lambda error: ("\ud800", error.end))  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Table:
    """`rows()` reads the table from its first row on: (line on which a row begins, row). `header` names its
    columns. `guesses` are what the file does not say of itself: encoding, separator, a column without a
    name."""

    rows: Callable[[], Iterator[tuple[int, Row]]]
    header: frozenset[str]
    guesses: tuple[str, ...]


def delimited_rows(path: Path) -> Table:
    """Open a CSV or TSV file. A row holds its cells that are not empty; blank lines are passed over.

    A quote that is never closed would swallow the rows below it, so reading goes on at the line after the one
    on which a wrong row began. Raises UsageError for a header that names no columns.
    """
    encoding, guesses = encoding_of(path)
    with open_text(path, encoding) as file:
        first = next((line for line in file if line.strip() and not NAMED_SEPARATOR.match(line)), "")
    separator = "\t" if path.suffix.lower() == ".tsv" else _separator(first)
    if separator != (expected := "\t" if path.suffix.lower() == ".tsv" else ","):
        guesses.append(f"cells separated by {SEPARATORS[separator]}, not {SEPARATORS[expected]}")
    with open_text(path, encoding) as file:
        header = _header(_Lines(file, separator), str(path))
    if header[0] == "":
        guesses.append("column 1 has no name: an index, not read")
    return Table(
        rows=partial(_rows_of, path, encoding, separator), header=frozenset(header), guesses=tuple(guesses)
    )


def table_rows(file: TextIO, name: str, separator: str = ",") -> Iterator[tuple[int, Row]]:
    """The rows below the header of a table; `name` is the file's, for messages."""
    lines = _Lines(file, separator)
    header = _header(lines, name)
    while True:
        start = lines.position
        try:
            cells = lines.record()
        except StopIteration:
            return
        except csv.Error as error:
            lines.go_back_to_second()
            yield start + 1, _bad(f"broken CSV: {error}")
            continue
        while len(cells) > len(header) and not cells[-1]:
            cells.pop()
        if len(cells) == len(header):
            yield start + 1, {key: cell for key, cell in zip(header, cells, strict=True) if cell and key}
        elif cells:
            lines.go_back_to_second()
            mark = SEPARATORS[separator]
            yield (
                start + 1,
                _bad(
                    f"broken CSV: got {len(cells)} cells, expected {len(header)} as in the header; put "
                    f"double quotes around a cell that holds a {mark}, and leave empty cells between {mark}s"
                ),
            )


class _Lines:
    """The lines of a file, read as records; those of the last record can be read again."""

    def __init__(self, file: TextIO, separator: str) -> None:
        self.position = 0
        self._file, self._separator = file, separator
        self._again: list[str] = []
        self._used: list[str] = []
        self._reader = self._new_reader()

    def record(self) -> list[str]:
        self._used.clear()
        return next(self._reader)

    def go_back_to_second(self) -> None:
        """The next record begins on the second line of the last one."""
        self._again = self._used[1:] + self._again
        self.position -= len(self._used) - 1
        self._used = []
        self._reader = self._new_reader()

    def _new_reader(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), strict=True, delimiter=self._separator)

    def _feed(self) -> Iterator[str]:
        while line := self._again.pop(0) if self._again else self._file.readline():
            self.position += 1
            self._used.append(line)
            yield line


def _rows_of(path: Path, encoding: str, separator: str) -> Iterator[tuple[int, Row]]:
    with open_text(path, encoding) as file:
        yield from table_rows(file, str(path), separator)


def open_text(path: Path, encoding: str) -> TextIO:
    """The file as text, with a lone surrogate for bytes that are no characters."""
    errors = "surrogateescape" if encoding == "utf-8-sig" else "lone-surrogate"
    # "\n" alone ends a line: a text's own line separators may be in a cell.
    newline = "\r" if _ends_in_cr(path) else "\n"
    return io.TextIOWrapper(path.open("rb"), encoding=encoding, errors=errors, newline=newline)


def _ends_in_cr(path: Path) -> bool:
    """Whether CR alone ends the first line, as in tables of old Macs."""
    with path.open("rb") as file:
        start = file.read(FIRST_BYTES)
    return b"\r" in start.rstrip() and b"\n" not in start


def encoding_of(path: Path) -> tuple[str, list[str]]:
    """The encoding of a file, and what was guessed of it.

    A file is UTF-8 with damaged rows if any of its characters beyond ASCII is valid UTF-8, else Latin-1.
    """
    broken = False
    guesses = [CR_ALONE] if _ends_in_cr(path) else []
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    with path.open("rb") as file:
        if found := UTF16_STARTS.get(file.read(2)):
            return found, ["encoding UTF-16", *guesses]
        file.seek(0)
        while block := file.read(1 << 20):
            if block.isascii() and not decoder.getstate()[0]:
                continue
            text = decoder.decode(block)
            broken = broken or bool(ESCAPED.search(text))
            # Bytes that are no Latin-1 as it is used (Windows-1252) speak against it as valid UTF-8 does.
            if BEYOND_ASCII.search(text) or NOT_LATIN1.search(text):
                return "utf-8-sig", guesses
    if broken:
        return "cp1252", ["encoding Latin-1 (not UTF-8): save it as UTF-8 if texts look wrong", *guesses]
    return "utf-8-sig", guesses


def _separator(header: str) -> str:
    """The separator that gives the header the most cells; the comma first."""
    return max(SEPARATORS, key=lambda separator: header.count(separator))


def _header(lines: _Lines, name: str) -> list[str]:
    cells: list[str] = []
    try:
        while not cells or NAMED_SEPARATOR.match(cells[0]):
            cells = [cell.strip() for cell in lines.record()]
    except StopIteration:
        pass
    except csv.Error as error:
        raise UsageError(f"annotation {name}: the CSV header cannot be read: {error}") from error
    if not all(cell.isprintable() for cell in cells):
        raise UsageError(
            f"annotation {name}: the CSV header {','.join(cells)!a} is no list of names; expected "
            "UTF-8, UTF-16 with a byte order mark, or Latin-1"
        )
    if "" in cells[1:] or len({*cells}) < len(cells):
        wrong = "a name is empty" if "" in cells[1:] else "a name appears twice"
        raise UsageError(f"annotation {name}: {wrong} in the CSV header {', '.join(cells)}")
    return cells


def _bad(message: str) -> SampleError:
    return SampleError(FailureKind.BAD_ROW, message)
