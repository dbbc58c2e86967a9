from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from strive_data.errors import FailureKind
from strive_data.schema import Failure
from strive_data.summary import BuildSummary, stopped_line, summary_lines

DONE = BuildSummary(samples=8, videos=4, tried_videos=4, shards=2, failures=(), seconds=1.25)
OUT, CACHE = Path("out"), Path("cache")


def test_a_plain_build_is_one_line() -> None:
    assert list(summary_lines(DONE, OUT, None)) == [
        "out: 8 samples of 4 videos in 2 shards, 0 failures, 1.2 s"
    ]


def test_videos_that_gave_no_sample_are_counted_apart() -> None:
    """Regression: "4 samples of 7 videos" counted five that had failed."""
    (line,) = summary_lines(replace(DONE, samples=4, videos=2, tried_videos=7), OUT, None)
    assert line == "out: 4 samples of 2 videos (7 tried) in 2 shards, 0 failures, 1.2 s"


def test_it_says_what_was_there_what_changed_and_what_failed() -> None:
    failures = tuple(
        Failure(sample_id=str(i), row=i, video="v", stage="decode", kind=FailureKind.OOM, message="m")
        for i in range(12)
    )
    lines = list(
        summary_lines(
            replace(DONE, resumed=3, failures=failures, kept=1, versions={"av": ("1", "2")}), OUT, CACHE
        )
    )
    assert lines[0] == "out: begun with av 1, now 2: equal bytes are promised for equal versions only"
    assert lines[1] == "cache: 1 of 4 videos came from the cache"
    assert lines[2] == "out: 3 samples were there already"
    assert lines[4] == "  row 0, oom: m"
    assert lines[-1] == "  and 2 more: strive-data inspect out --failures"
    unchanged = list(summary_lines(replace(DONE, unchanged=True, resumed=8), OUT, CACHE))
    assert unchanged[0] == "out: finished already, nothing to do"
    assert len(unchanged) == 2
    assert stopped_line(OUT).endswith("start the same command again to go on")
