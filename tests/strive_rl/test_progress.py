"""The progress line, by hand."""

from __future__ import annotations

import io

from strive_rl.progress import TrainProgress, duration, progress_line

RECORD = {"step": 3, "reward": 0.5, "accuracy": 0.25, "zero_advantage_share": None}


def test_the_line() -> None:
    expected = "step 3/10  reward 0.500  accuracy 0.250  zero advantage -  1m05s left"
    assert progress_line(RECORD, 10, 65.2) == expected


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 59.4, 60, 187, 7500)] == ["0s", "59s", "1m00s", "3m07s", "2h05m"]


def test_outside_a_terminal_only_the_first_and_last_of_quick_steps_are_shown() -> None:
    stream = io.StringIO()
    progress = TrainProgress(stream)
    for step in range(1, 6):
        progress(RECORD | {"step": step}, 5)
    shown = [line.split()[1] for line in stream.getvalue().splitlines()]
    assert shown == ["1/5", "5/5"]
