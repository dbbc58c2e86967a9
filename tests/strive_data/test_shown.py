from __future__ import annotations

import pytest

from strive_data.errors import FailureKind, SampleError
from strive_data.shown import shown


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
    assert shown(value) == text


def test_what_is_long_is_cut_to_80_characters() -> None:
    assert shown("x" * 78) == f"'{'x' * 78}'"
    assert shown("x" * 79) == f"'{'x' * 76}..."
    deep: list[object] = []
    for _ in range(10_000):
        deep = [deep]
    assert shown(deep) == "[[[[[[[...]]]]]]]"
