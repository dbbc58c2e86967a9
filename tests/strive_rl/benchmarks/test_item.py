from __future__ import annotations

from strive_rl.benchmarks.item import text_of


def test_the_first_text_or_whole_number_of_the_named_fields() -> None:
    row = {"a": None, "b": {"c": "deep"}, "n": 7, "flag": True, "empty": ""}
    assert text_of(row, "a", "b.c") == "deep"
    assert text_of(row, "empty", "n") == "7"
    assert text_of(row, "flag", "missing", "b") == ""
