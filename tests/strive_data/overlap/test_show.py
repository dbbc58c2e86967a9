from __future__ import annotations

import polars as pl

from strive_data.overlap.find import OVERLAP_TABLE
from strive_data.overlap.show import as_overlap_text


def test_an_evaluation_video_counts_once() -> None:
    rows = [
        ("a.mp4", "x.mp4", True, 1.0, 9, 0.0, 1, 3),
        ("b.mp4", "x.mp4", False, 0.9, 5, 2.5, 1, 3),
        ("b.mp4", "y.mp4", False, 0.8, 4, 2.5, 1, 2),
    ]
    text = as_overlap_text(pl.DataFrame(rows, schema=OVERLAP_TABLE, orient="row"))
    assert text.startswith("2 videos of EVAL found in TRAIN too, with 5 samples in EVAL\n")
    assert text.count(".mp4") == 6


def test_nothing_in_common_is_said() -> None:
    assert as_overlap_text(pl.DataFrame(schema=OVERLAP_TABLE)) == "no video in common"
