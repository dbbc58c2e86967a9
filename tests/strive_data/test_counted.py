from __future__ import annotations

import pytest

from strive_data.counted import counted, listed


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


def test_the_counts_of_a_record_are_words_with_commas_between() -> None:
    counts = {"samples": 1, "videos": 1, "tried_videos": 2, "bytes": 0}
    assert listed(counts) == "1 sample, 1 video, 2 tried videos, 0 bytes"
    assert listed(counts | {"tried_videos": 1}) == "1 sample, 1 video, 0 bytes"
    assert listed({"samples": 3, "videos": 2}) == "3 samples, 2 videos"
