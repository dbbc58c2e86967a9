from __future__ import annotations

import io
import re
import time
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from strive_data.build.progress import BuildCounts, BuildProgress, seconds_between_lines, shard_progress
from strive_data.errors import FailureKind


def counts_of(**counts: Any) -> BuildCounts:
    """Ten videos, of which earlier starts did four."""
    return BuildCounts(**({"videos_total": 10, "questions_total": 30, "videos": 4, "questions": 11} | counts))


def test_failures_of_earlier_starts_count() -> None:
    counts = counts_of(failed_before=2)
    counts.failures.update([FailureKind.TIMEOUT, FailureKind.TIMEOUT, FailureKind.CRASH])
    assert counts.failed == 5


def test_the_share_of_a_stage_is_that_of_its_seconds() -> None:
    counts = counts_of()
    counts.watch.add({"decode": 0.5, "model": 1.5})
    counts.watch.add({"decode": 0.5, "encode": 1.0, "write": 0.5})
    assert counts.stage_shares() == {"decode": 0.25, "model": 0.375, "encode": 0.25, "write": 0.125}


def test_nothing_is_estimated_before_the_first_video() -> None:
    counts = counts_of()
    assert counts.seconds_left(5.0) is None
    assert counts.stage_shares() == {}


def test_time_left_follows_the_pace_of_this_start() -> None:
    counts = counts_of()
    counts.videos += 2
    assert counts.seconds_left(10.0) == 10.0 / 2 * 4
    assert counts_of(videos=10).seconds_left(10.0) == 0.0


def shown_counts() -> BuildCounts:
    return counts_of(videos_total=5, questions_total=13, videos=1, questions=2, failed_before=1)


def count_good(counts: BuildCounts) -> None:
    """A video with three questions, which fills a shard."""
    counts.videos += 1
    counts.questions += 3
    counts.shards += 1
    counts.frames += 128
    counts.written_bytes += 2_500_000
    counts.watch.add({"decode": 1.0, "model": 6.0, "encode": 0.75, "write": 0.25})


def count_bad(counts: BuildCounts) -> None:
    """A video whose two questions fail."""
    counts.videos += 1
    counts.questions += 2
    counts.failures[FailureKind.TIMEOUT] += 2


def shown(*, terminal: bool) -> tuple[BuildProgress, SimpleNamespace, io.StringIO]:
    """What shows it, a clock that is set by hand, and what is written."""
    written, clock = io.StringIO(), SimpleNamespace(now=100.0)
    console = Console(
        file=written, force_terminal=terminal, width=100, color_system=None, legacy_windows=False
    )
    return BuildProgress(console, lambda: clock.now), clock, written


@pytest.mark.parametrize("terminal", [False, True])
def test_notes_come_first(terminal: bool) -> None:
    progress, _, written = shown(terminal=terminal)
    with progress:
        progress.start(shown_counts(), ["warning: beware of the model"])
    assert "warning: beware of the model" in written.getvalue()


def test_without_a_terminal_it_prints_lines_at_intervals() -> None:
    progress, clock, written = shown(terminal=False)
    counts = shown_counts()
    with progress:
        progress.start(counts, ())
        for seconds, count in ((4.0, count_good), (12.0, count_bad), (15.0, count_good), (16.0, count_good)):
            clock.now = 100.0 + seconds
            count(counts)
            progress.advance()
        clock.now = 120.0
        counts.shards, counts.written_bytes = 4, 8_123_456
        progress.finish()
    assert written.getvalue().splitlines() == [
        "5 videos, 1 of them done before, 13 questions, 1 failed row",
        "3/5 videos, 7/13 questions, 1 shard, 3 failures, 10.7 frames/s, 2.5 MB, 0:00:12 left, "
        "bottleneck model (decode 12% model 75% encode 9% write 3%)",
        "5/5 videos, 13/13 questions, 4 shards, 3 failures, 19.2 frames/s, 8.1 MB, 0:00:00 left, "
        "bottleneck model (decode 12% model 75% encode 9% write 3%)",
    ]


def test_on_a_terminal_it_shows_a_live_view() -> None:
    progress, clock, written = shown(terminal=True)
    counts = shown_counts()
    with progress:
        progress.start(counts, ())
        clock.now = 104.0
        for count in (count_good, count_bad):
            count(counts)
            progress.advance()
    text = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", written.getvalue())
    assert [line.rstrip() for line in text.splitlines()][-4:] == [
        "━" * 24 + " " * 18 + "3/5 videos  0:00:04 so far  0:00:04 left",
        "7/13 questions · 1 shard · 3 failures · 32.0 frames/s · 2.5 MB",
        "2 timeout",
        "bottleneck model (decode 12% model 75% encode 9% write 3%)",
    ]


def test_before_the_first_video_no_time_is_promised() -> None:
    progress, _, written = shown(terminal=True)
    with progress:
        progress.start(counts_of(videos_total=2, questions_total=2, videos=0, questions=0), ())
    assert "0/2 videos  0:00:00 so far  ? left" in written.getvalue()
    assert "bottleneck" not in written.getvalue()


def test_brackets_in_a_line_are_text() -> None:
    progress, clock, written = shown(terminal=False)
    counts = counts_of(videos_total=1, questions_total=1, videos=0, questions=0)
    progress.start(counts, ["[red]"])
    clock.now += 1.0
    counts.watch.add({"write": 1.0})
    progress.advance()
    assert "[red]" in written.getvalue()
    progress.finish()
    assert "bottleneck write (decode 0% model 0% encode 0% write 100%)" in written.getvalue()


@pytest.mark.parametrize(("elapsed", "seconds"), [(0, 10), (200, 10), (600, 30), (3600, 180), (86_400, 300)])
def test_lines_become_rarer(elapsed: float, seconds: float) -> None:
    assert seconds_between_lines(elapsed) == seconds


def test_where_there_is_no_terminal_a_line_is_printed_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with shard_progress("read") as progress:
        for done, at in enumerate((104.0, 110.0, 115.0, 120.0), start=1):
            now[0] = at
            progress(done, 4, done * 10_000_000)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["2/4 shards read, 20 MB, 2 MB/s", "4/4 shards read, 40 MB, 2 MB/s"]
