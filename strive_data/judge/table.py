"""The judge's table on a screen and in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from strive_data.errors import UsageError
from strive_data.judge.measure import METRICS

SETTINGS = ("noise", "frames", "variants", "sampler")
WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    ".csv": pl.DataFrame.write_csv,
    ".parquet": pl.DataFrame.write_parquet,
}


def as_text(table: pl.DataFrame) -> str:
    """Each metric as mean ± half its 95 % interval; samplers beside each other for equal frames."""
    shown = table.sort("noise", "frames", "variants", maintain_order=True).select(
        *SETTINGS, *(_with_interval(metric) for metric in METRICS)
    )
    with pl.Config(
        tbl_rows=-1,
        tbl_cols=-1,
        fmt_str_lengths=60,
        tbl_width_chars=180,
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
    ):
        return str(shown)


def check_out(path: Path) -> None:
    """Refuse, before the work, a file whose name says no known format."""
    if path.suffix not in WRITERS:
        raise UsageError(f"--out {path}: expected a name that ends in {' or '.join(WRITERS)}")


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write all columns as CSV or parquet, by the name's ending."""
    check_out(path)
    WRITERS[path.suffix](table, path)


def _with_interval(metric: str) -> pl.Expr:
    half = (pl.col(f"{metric}_high") - pl.col(f"{metric}_low")) / 2
    mean = pl.col(metric).map_elements(lambda value: f"{value:.3f}", return_dtype=pl.String)
    width = half.map_elements(lambda value: f"±{value:.3f}".replace("±0", "±"), return_dtype=pl.String)
    return pl.concat_str(mean, width).fill_null("–").alias(metric)
