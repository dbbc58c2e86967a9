from __future__ import annotations

import pytest

from strive_data.config import FailureSettings
from strive_data.errors import FailureKind
from strive_data.failure_limit import FailureCount, TooManyFailuresError, stop_reason, sum_up
from strive_data.schema import Failure


@pytest.mark.parametrize(
    ("tried", "failed", "stops"),
    [(49, 49, False), (50, 25, False), (50, 26, True), (1000, 501, True), (1000, 500, False)],
)
def test_a_share_counts_from_some_rows_on(tried: int, failed: int, stops: bool) -> None:
    assert (stop_reason(tried, failed, FailureSettings()) is not None) == stops


def test_a_count_holds_from_the_first_row() -> None:
    limits = FailureSettings(max_count=2)
    assert stop_reason(2, 2, limits) is None
    assert stop_reason(3, 3, limits) == "stopped: 3 of 3 rows failed, failures.max_count is 2"
    assert stop_reason(10**6, 10**6, FailureSettings(max_share=1)) is None


def test_the_summary_names_each_kind_with_its_first_row_and_the_ways_out() -> None:
    counted = FailureCount(FailureSettings(max_count=3))
    kinds = [FailureKind.NO_MOOV, FailureKind.MISSING, FailureKind.MISSING, FailureKind.MISSING]
    rows = [
        Failure(sample_id=str(i), row=i, video="v", stage="decode", kind=kind, message=f"m{i}")
        for i, kind in enumerate(kinds)
    ]
    counted.add(2, rows[:2])
    with pytest.raises(TooManyFailuresError) as raised:
        counted.add(2, rows[2:])
    assert str(raised.value).splitlines()[:4] == [
        "stopped: 4 of 4 rows failed, failures.max_count is 3",
        "  3 missing, as row 1: m1",
        "  1 no_moov, as row 0: m0",
        "  is --data-root the folder that the annotation's video paths start from?",
    ]
    # Regression: the share alone was named, where the count stood in the way.
    assert "(--set failures.max_share=1 --set failures.max_count=0)" in str(raised.value)
    with pytest.raises(TooManyFailuresError, match=r"\(--set failures\.max_share=1\)$"):
        FailureCount(FailureSettings(min_rows=1)).add(2, rows[2:])


def test_frames_that_are_too_large_point_to_the_limit_of_pixels() -> None:
    row = Failure(sample_id="0", row=0, video="v", stage="decode", kind=FailureKind.OOM, message="m")
    assert "decode.max_source_pixels" in sum_up([row])[-1]


def test_failures_are_summed_up_with_the_first_of_each_kind_and_the_most_frequent_kinds_cause() -> None:
    kinds = [FailureKind.BAD_ROW, FailureKind.TIMEOUT, FailureKind.TIMEOUT]
    rows = [
        Failure(sample_id=str(i), row=i, video="v", stage="decode", kind=kind, message=f"m{i}")
        for i, kind in enumerate(kinds)
    ]
    assert sum_up(rows) == [
        "  2 timeout, as row 1: m1",
        "  1 bad_row, as row 0: m0",
        "  is the storage slow, or decode.timeout_seconds short?",
    ]
    assert sum_up([]) == []
