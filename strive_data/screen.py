"""A table on the screen: every row and column that it is given, in the width of a terminal."""

from __future__ import annotations

import polars as pl

WIDTH_CHARACTERS = 180


def table_text(table: pl.DataFrame, *, decimals: int | None = None) -> str:
    """The table as text; `decimals` of floating-point columns, or as many as polars shows."""
    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        fmt_str_lengths=60,
        fmt_table_cell_list_len=8,
        float_precision=decimals,
        tbl_width_chars=WIDTH_CHARACTERS,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        return str(table)
