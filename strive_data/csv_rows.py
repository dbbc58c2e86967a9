"""CSV text → one mapping or one reason a row; a wrong row costs no other one.

Not polars: it reads a file or refuses it, and with errors ignored it turns them into nulls.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from strive_data.errors import FailureKind, SampleError, UsageError


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
