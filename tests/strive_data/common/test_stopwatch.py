from __future__ import annotations

import pytest

from strive_data.common import stopwatch
from strive_data.common.stopwatch import WORK_STAGES, Stopwatch


def test_seconds_add_up_by_stage_even_where_the_block_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(ticks))
    watch = Stopwatch()
    with watch.stage("model"):
        pass
    with pytest.raises(ValueError, match="no"), watch.stage("encode"):
        raise ValueError("no")
    assert watch.seconds == {"decode": 0.0, "model": 2.0, "encode": 3.0, "write": 0.0}
    other = Stopwatch()
    other.add(watch.seconds)
    other.add({"model": 1.0})
    assert other.seconds == watch.seconds | {"model": 3.0}
    assert tuple(other.seconds) == WORK_STAGES
