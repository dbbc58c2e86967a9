from __future__ import annotations

from strive_data.errors import FailureKind
from strive_data.observer import VideoDone


def test_failed_is_the_sum_over_kinds() -> None:
    kinds = {FailureKind.TIMEOUT: 2, FailureKind.OOM: 1}
    assert VideoDone(video="a", questions=4, failures=kinds).failed == 3
    assert VideoDone(video="a", questions=4).failed == 0
