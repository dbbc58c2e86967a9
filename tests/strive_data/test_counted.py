from __future__ import annotations

import pytest

from strive_data.counted import counted


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
    assert counted(count, "shard", form) == text
