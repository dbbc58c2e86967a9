"""The table of overlaps on a screen."""

from __future__ import annotations

import polars as pl

from strive_data.counted import counted
from strive_data.screen import table_text


def as_overlap_text(table: pl.DataFrame) -> str:
    """One line that counts, then one row a pair of videos."""
    videos, samples = table["eval_video"].n_unique(), int(table.unique("eval_video")["eval_samples"].sum())
    if table.is_empty():
        return "no video in common"
    summary = (
        f"{counted(videos, 'video')} of EVAL found in TRAIN too, with {counted(samples, 'sample')} in EVAL"
    )
    return f"{summary}\n{table_text(table, decimals=3)}"
