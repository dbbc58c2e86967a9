"""The progress line, by hand."""

from __future__ import annotations

import io
from typing import Any

from strive_rl.progress import EvalProgress, TrainProgress, duration, progress_line

RECORD: dict[str, Any] = {
    "dropped": [],
    "step": 3,
    "reward": 0.5,
    "accuracy": 0.25,
    "zero_advantage_share": None,
}


def test_the_line() -> None:
    expected = "step 3/10  reward 0.500  accuracy 0.250  zero advantage -  1m05s left"
    assert progress_line(RECORD, 10, 65.2) == expected


def test_dropped_questions_are_shown() -> None:
    assert "  dropped 2  " in progress_line(RECORD | {"dropped": ["a", "b"]}, 10, 0.0)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_line_is_written_over() -> None:
    stream = Terminal()
    with EvalProgress(stream) as progress:
        progress(5, 10)
        progress(10, 10)
    shown = stream.getvalue()
    assert shown.startswith("\r5/10 answers")
    assert shown.count("\n") == 1
    assert shown.endswith("10/10 answers  0s left\x1b[K\n")


def test_quick_evaluations_outside_a_terminal_are_silent() -> None:
    stream = io.StringIO()
    EvalProgress(stream)(5, 10)
    assert stream.getvalue() == ""


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 59.4, 60, 187, 7500)] == ["0s", "59s", "1m00s", "3m07s", "2h05m"]


def test_outside_a_terminal_only_the_first_and_last_of_quick_steps_are_shown() -> None:
    stream = io.StringIO()
    progress = TrainProgress(stream)
    for step in range(1, 6):
        progress(RECORD | {"step": step}, 5)
    shown = [line.split()[1] for line in stream.getvalue().splitlines()]
    assert shown == ["1/5", "5/5"]
