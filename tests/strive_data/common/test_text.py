from __future__ import annotations

import polars as pl
import pytest

from strive_data.common.text import escape_controls, listed, plural, short_repr, table_text
from strive_data.errors import FailureKind, SampleError


@pytest.mark.parametrize(
    ("count", "form", "text"),
    [
        (0, "", "0 shards"),
        (1, "", "1 shard"),
        (2, "", "2 shards"),
        (1200, "", "1200 shards"),
        (1200, ",", "1,200 shards"),
    ],
)
def test_only_one_stands_without_an_s(count: int, form: str, text: str) -> None:
    assert plural(count, "shard", form) == text


def test_the_counts_of_a_record_are_words_with_commas_between() -> None:
    counts = {"samples": 1, "videos": 1, "tried_videos": 2, "bytes": 3_874_816}
    assert listed(counts) == "1 sample, 1 video, 2 tried videos, 3.9 MB"
    assert listed(counts | {"tried_videos": 1}) == "1 sample, 1 video, 3.9 MB"
    assert listed({"samples": 3, "videos": 2}) == "3 samples, 2 videos"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", "'a b'"),
        ("über", "'über'"),
        ("two\nlines", "'two\\nlines'"),
        ("\ud800", "'\\ud800'"),
        (None, "None"),
        (1.5, "1.5"),
        ([1, [2, [3]]], "[1, [2, [3]]]"),
        (SampleError(FailureKind.BAD_ROW, "the key 'a' stands twice"), "the key 'a' stands twice"),
    ],
)
def test_a_value_is_one_line(value: object, text: str) -> None:
    assert short_repr(value) == text


def test_what_is_long_is_cut_to_80_characters() -> None:
    assert short_repr("x" * 78) == f"'{'x' * 78}'"
    assert short_repr("x" * 79) == f"'{'x' * 76}..."
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    assert short_repr(deep) == "[[[[[[[...]]]]]]]"


def test_every_row_and_column_is_shown() -> None:
    table = pl.DataFrame({f"column{i}": range(40) for i in range(12)})
    lines = [line for line in table_text(table).splitlines() if "┆" in line]
    assert len(lines) == 41
    assert all(line.count("┆") == 11 for line in lines)


def test_decimals_are_as_asked() -> None:
    assert "0.333" in table_text(pl.DataFrame({"a": [1 / 3]}), decimals=3)
    assert "0.3333" not in table_text(pl.DataFrame({"a": [1 / 3]}), decimals=3)


def test_control_characters_are_shown_and_not_acted_on() -> None:
    assert escape_controls("a\x1b]52;c\x07\x9b31m\u202eb\u2028\u2066\x00\ud800") == (
        "a\\x1b]52;c\\x07\\x9b31m\\u202eb\\u2028\\u2066\\x00\\ud800"
    )
    assert (
        escape_controls("naïve 日本 👍\n\tü\u200d") == "naïve 日本 👍\n\tü\u200d"
    )  # joiners stay: emoji need them
