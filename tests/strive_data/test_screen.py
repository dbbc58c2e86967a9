from __future__ import annotations

import polars as pl

from strive_data.screen import table_text


def test_every_row_and_column_is_shown() -> None:
    table = pl.DataFrame({f"column{i}": range(40) for i in range(12)})
    lines = [line for line in table_text(table).splitlines() if "┆" in line]
    assert len(lines) == 41
    assert all(line.count("┆") == 11 for line in lines)


def test_decimals_are_as_asked() -> None:
    assert "0.333" in table_text(pl.DataFrame({"a": [1 / 3]}), decimals=3)
    assert "0.3333" not in table_text(pl.DataFrame({"a": [1 / 3]}), decimals=3)
