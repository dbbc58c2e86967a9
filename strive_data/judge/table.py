"""The judge's table on a screen."""

from __future__ import annotations

import polars as pl

from strive_data.judge.measure import METRICS
from strive_data.screen import table_text

SETTINGS = ("noise", "frames", "variants", "sampler")


def as_text(table: pl.DataFrame) -> str:
    """Each metric as mean ± half its 95 % interval; samplers beside each other for equal frames."""
    shown = table.sort("noise", "frames", "variants", maintain_order=True).select(
        *SETTINGS, *(_with_interval(metric) for metric in METRICS)
    )
    return table_text(shown)


def _with_interval(metric: str) -> pl.Expr:
    half = (pl.col(f"{metric}_high") - pl.col(f"{metric}_low")) / 2
    mean = pl.col(metric).map_elements(lambda value: f"{value:.3f}", return_dtype=pl.String)
    width = half.map_elements(lambda value: f"±{value:.3f}".replace("±0", "±"), return_dtype=pl.String)
    return pl.concat_str(mean, width).fill_null("–").alias(metric)
