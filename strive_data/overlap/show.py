"""The table of overlaps on a screen."""

from __future__ import annotations

import polars as pl


def as_overlap_text(table: pl.DataFrame) -> str:
    """One line that counts, then one row a pair of videos."""
    videos, samples = table["eval_video"].n_unique(), table.unique("eval_video")["eval_samples"].sum()
    if table.is_empty():
        return "no video in common"
    summary = f"{videos} videos of EVAL are in TRAIN too, with {samples} samples in EVAL"
    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        fmt_str_lengths=60,
        tbl_width_chars=180,
        float_precision=3,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        return f"{summary}\n{table}"
