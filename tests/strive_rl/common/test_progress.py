"""The progress line, by hand."""

from __future__ import annotations

import io
import re
from itertools import count
from typing import Any

import pytest

from strive_rl.common.progress import (
    PHASE,
    EvalProgress,
    TrainProgress,
    duration,
    fitted,
    joined,
    phase,
    phases_of,
    progress_parts,
)

RECORD: dict[str, Any] = {
    "dropped": [],
    "broken": [],
    "step": 3,
    "reward": 0.5,
    "accuracy": 0.25,
    "zero_advantage_share": None,
    "entropy": 1.25,
    "per_second": {"tokens": 812.34},
}


def progress_line(record: dict[str, Any], steps: int, seconds_left: float) -> str:
    return joined(progress_parts(record, steps, seconds_left))


def test_the_line() -> None:
    expected = (
        "step 3/10  reward 0.500  accuracy 0.250  zero advantage -  entropy 1.250  812 tokens/s  1m05s left"
    )
    assert progress_line(RECORD, 10, 65.2) == expected
    slow = progress_line(RECORD | {"per_second": {"tokens": 3.14}}, 10, 65.2)
    assert "  3.1 tokens/s  " in slow
    assert "  - tokens/s  " in progress_line(RECORD | {"per_second": {"tokens": None}}, 10, 65.2)


def test_dropped_questions_are_shown() -> None:
    assert "  dropped 2  " in progress_line(RECORD | {"dropped": ["a", "b"]}, 10, 0.0)
    assert "  broken 1  " in progress_line(RECORD | {"broken": [{"sample_id": "a"}]}, 10, 0.0)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_line_is_written_over() -> None:
    stream = Terminal()
    with EvalProgress(stream) as progress:
        progress(5, 10)
        progress(10, 10)
        # What is printed now begins on a line of its own, and the end of the block adds none.
        progress.end()
        assert stream.getvalue().endswith("\n")
    shown = stream.getvalue()
    assert shown.startswith("\r5/10 answers")
    assert shown.count("\n") == 1
    assert shown.endswith("10/10 answers  0s left\x1b[K\n")


def test_quick_evaluations_outside_a_terminal_are_silent() -> None:
    stream = io.StringIO()
    EvalProgress(stream)(5, 10)
    assert stream.getvalue() == ""


def test_a_phase_is_shown_with_what_it_is_a_part_of() -> None:
    stream, done = Terminal(), [0]
    with EvalProgress(stream), phases_of(lambda: f"held-out question {done[0] + 1} of 3"):
        done[0] = 1
        phase("sampling", always=True)
    assert [line.strip() for line in re.split(r"\x1b\[K|\r", stream.getvalue()) if line.strip()] == [
        "held-out question 1 of 3",
        "held-out question 2 of 3, sampling",
    ]


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 59.4, 60, 187, 7500)] == ["0s", "59s", "1m00s", "3m07s", "2h05m"]


def test_outside_a_terminal_only_first_last_and_evaluated_steps_of_quick_ones_are_shown() -> None:
    stream = io.StringIO()
    progress = TrainProgress(stream)
    for step in range(1, 6):
        progress(RECORD | {"step": step} | ({"heldout": {"accuracy": 0.75}} if step == 3 else {}), 5)
    shown = [(line.split()[1], "held out 0.750" in line) for line in stream.getvalue().splitlines()]
    assert shown == [("1/5", False), ("3/5", True), ("5/5", False)]


def test_a_terminal_keeps_the_last_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    with TrainProgress(stream) as progress:
        for step, heldout in ((1, 0.75), (2, None), (3, 0.25), (4, None)):
            progress(RECORD | {"step": step} | ({"heldout": {"accuracy": heldout}} if heldout else {}), 100)
    assert re.findall("held out ([0-9.]+)", stream.getvalue()) == ["0.750", "0.750", "0.250", "0.250"]


def screen(stream: io.StringIO) -> list[str]:
    """The lines that a terminal shows of all that was written to it."""
    shown = [""]
    for part in re.split(r"(\r|\n|\x1b\[K)", stream.getvalue()):
        if part == "\n":
            shown.append("")
        elif part not in ("\r", "\x1b[K"):
            shown[-1] = part or shown[-1]
    return shown


def test_a_terminal_shows_the_last_step_on_one_line_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    with TrainProgress(stream) as progress:
        for step in range(1, 4):
            progress(RECORD | {"step": step}, 3)
        phase("saving the model", always=True)
    line, end = screen(stream)
    assert (line, end) == ("step 3/3  812 tokens/s  0s left", "")
    assert len(line) < 40


@pytest.mark.parametrize(
    ("doing", "columns", "line"),
    [
        (
            "",
            120,
            "step 3/10  reward 0.500  accuracy 0.250  zero advantage -  entropy 1.250  812 tokens/s  2s left",
        ),
        ("", 81, "step 3/10  reward 0.500  accuracy 0.250  zero advantage -  812 tokens/s  2s left"),
        ("", 50, "step 3/10  reward 0.500  812 tokens/s  2s left"),
        ("", 40, "step 3/10  812 tokens/s  2s left"),
        ("", 25, "812 tokens/s  2s left"),
        ("", 12, "2s left"),
        ("", 6, "2s l…"),
        ("sampling, token 5 of 768", 70, "step 3/10  sampling, token 5 of 768  812 tokens/s  2s left"),
        ("sampling, token 5 of 768", 60, "step 3/10  sampling, token 5 of 768  812 tokens/s  2s left"),
        ("sampling, token 5 of 768", 50, "step 3/10  sampling, toke…  812 tokens/s  2s left"),
        ("sampling, token 5 of 768", 40, "step 3/10  812 tokens/s  2s left"),
    ],
)
def test_time_left_and_speed_are_the_last_to_go_and_what_is_being_done_is_cut_before_it_goes(
    doing: str, columns: int, line: str
) -> None:
    """Regression: on 60 columns an evaluation was not on the screen."""
    first, *rest = progress_parts(RECORD, 10, 2.0)
    parts = [first, (PHASE, doing), *rest] if doing else [first, *rest]
    assert fitted(parts, columns) == line


def test_what_is_being_done_is_on_the_line_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    now = count(0.0, 0.15)
    monkeypatch.setattr("strive_rl.common.progress.time.monotonic", lambda: next(now))
    stream = Terminal()
    phase("nobody looks")
    with TrainProgress(stream) as progress:
        phase("loading model m", always=True)
        progress(RECORD, 10)
        phase("sampling, token 5 of 768")
        progress(RECORD | {"step": 10}, 10)
        phase("saving the model", always=True)
    phase("nobody looks any more")
    shown = [line.removesuffix("\x1b[K") for line in stream.getvalue().split("\r")][1:]
    assert [line.partition("  ")[0] for line in shown] == [
        "loading model m",
        "step 3/10",
        "step 4/10",
        "step 10/10",
        "saving the model",
        "step 10/10",
    ]
    assert shown[2].startswith("step 4/10  sampling, token 5 of 768  reward 0.500")
    assert all(len(line.rstrip()) < 80 for line in shown)
    assert " left" in shown[2]


def test_of_several_processes_the_first_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    stream = io.StringIO()
    with TrainProgress(stream):
        phase("loading model m", always=True)
    assert not stream.getvalue()


def test_outside_a_terminal_a_phase_comes_after_a_minute_of_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: a log file got a line every 5 seconds of sampling."""
    now = [100.0]
    monkeypatch.setattr("strive_rl.common.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    with EvalProgress(stream) as progress:
        for seconds in range(0, 150, 5):
            now[0] = 100.0 + seconds
            if seconds in (65, 70):
                progress(5, 10)
            phase(f"sampling, token {seconds} of 160")
    assert stream.getvalue().splitlines() == [
        "sampling, token 60 of 160",
        "5/10 answers  1m05s left",
        "5/10 answers  1m10s left",
        "5/10 answers  1m10s left  sampling, token 130 of 160",
    ]
