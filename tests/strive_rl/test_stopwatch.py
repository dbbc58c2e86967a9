from __future__ import annotations

import time

from strive_rl.stopwatch import Stopwatch


def test_laps_add_up_under_their_names() -> None:
    watch = Stopwatch()
    time.sleep(0.02)
    watch.lap("a")
    watch.lap("b")
    time.sleep(0.02)
    watch.lap("a")
    seconds = watch.seconds()
    assert list(seconds) == ["a", "b", "total"]
    assert seconds["a"] >= 0.04 > seconds["b"]
    assert seconds["total"] == seconds["a"] + seconds["b"]
