from __future__ import annotations

import io
import re
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from strive_data.build.progress import (
    BuildProgress,
    ProgressCounts,
    ProgressTotals,
    ShardProgress,
    VideoDone,
    seconds_between_lines,
)
from strive_data.errors import FailureKind

WORK = ProgressTotals(videos=10, questions=30, videos_done=4, questions_done=11, failures=2)
ONE = VideoDone(
    questions=3,
    failures={FailureKind.TIMEOUT: 1},
    frames=128,
    written_bytes=1000,
    shards=1,
    seconds={"decode": 0.5, "model": 1.5},
)
OTHER = VideoDone(
    questions=2,
    failures={FailureKind.TIMEOUT: 1, FailureKind.CRASH: 1},
    frames=72,
    seconds={"decode": 0.5, "encode": 1.0, "write": 0.5},
)


def counted(totals: ProgressTotals, *videos: VideoDone) -> ProgressCounts:
    counts = ProgressCounts(totals)
    for video in videos:
        counts.add(video)
    return counts


@pytest.mark.parametrize("videos", [(ONE, OTHER), (OTHER, ONE)])
def test_counts_add_up_with_those_of_earlier_starts_in_any_order(videos: tuple[VideoDone, ...]) -> None:
    counts = counted(WORK, *videos)
    assert (counts.videos, counts.questions, counts.failed) == (6, 16, 5)
    assert (counts.frames, counts.shards, counts.written_bytes) == (200, 1, 1000)
    assert counts.failures == {FailureKind.TIMEOUT: 2, FailureKind.CRASH: 1}
    assert counts.stage_shares() == {"decode": 0.25, "model": 0.375, "encode": 0.25, "write": 0.125}


def test_nothing_is_estimated_before_the_first_video() -> None:
    assert counted(WORK).seconds_left(5.0) is None
    assert counted(WORK, VideoDone(questions=1)).stage_shares() == {}


def test_time_left_follows_the_pace_of_this_start() -> None:
    assert counted(WORK, ONE, OTHER).seconds_left(10.0) == 10.0 / 2 * 4
    assert counted(ProgressTotals(videos=3, questions=3, videos_done=3)).seconds_left(10.0) == 0.0


def test_shards_and_bytes_of_earlier_starts_count() -> None:
    counts = counted(replace(WORK, shards=2, written_bytes=500), ONE)
    assert (counts.shards, counts.written_bytes) == (3, 1500)


SHOWN = ProgressTotals(videos=5, questions=13, videos_done=1, questions_done=2, failures=1)
SECONDS = {"decode": 1.0, "model": 6.0, "encode": 0.75, "write": 0.25}
GOOD = VideoDone(questions=3, frames=128, written_bytes=2_500_000, shards=1, seconds=SECONDS)
BAD = VideoDone(questions=2, failures={FailureKind.TIMEOUT: 2})


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
        progress.start(replace(SHOWN, notes=("warning: beware of the model",)))
    assert "warning: beware of the model" in written.getvalue()


def test_without_a_terminal_it_prints_lines_at_intervals() -> None:
    progress, clock, written = shown(terminal=False)
    with progress:
        progress.start(SHOWN)
        for seconds, done in ((4.0, GOOD), (12.0, BAD), (15.0, GOOD), (16.0, GOOD)):
            clock.now = 100.0 + seconds
            progress.advance(done)
        clock.now = 120.0
        progress.finish(shards=4, written_bytes=8_123_456)
    assert written.getvalue().splitlines() == [
        "5 videos, 1 of them done before, 13 questions, 1 failed row",
        "3/5 videos, 7/13 questions, 1 shard, 3 failures, 10.7 frames/s, 2.5 MB, 0:00:12 left, "
        "bottleneck model (decode 12% model 75% encode 9% write 3%)",
        "5/5 videos, 13/13 questions, 4 shards, 3 failures, 19.2 frames/s, 8.1 MB, 0:00:00 left, "
        "bottleneck model (decode 12% model 75% encode 9% write 3%)",
    ]


def test_on_a_terminal_it_shows_a_live_view() -> None:
    progress, clock, written = shown(terminal=True)
    with progress:
        progress.start(SHOWN)
        clock.now = 104.0
        progress.advance(GOOD)
        progress.advance(BAD)
    text = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", written.getvalue())
    assert [line.rstrip() for line in text.splitlines()][-4:] == [
        "━" * 24 + " " * 18 + "3/5 videos  0:00:04 so far  0:00:04 left",
        "7/13 questions · 1 shard · 3 failures · 32.0 frames/s · 2.5 MB",
        "2 timeout",
        "bottleneck model (decode 12% model 75% encode 9% write 3%)",
    ]


def test_the_last_view_has_the_shard_that_was_open() -> None:
    """Regression: it said "0 full shards" of a build that held one."""
    progress, _, written = shown(terminal=True)
    with progress:
        progress.start(ProgressTotals(videos=1, questions=3))
        progress.advance(replace(GOOD, shards=0))
        progress.finish(shards=1, written_bytes=2_600_000)
    assert re.search(r"3/3 questions · 1 shard · 0 failures · .* · 2\.6 MB", written.getvalue())


def test_before_the_first_video_no_time_is_promised() -> None:
    progress, _, written = shown(terminal=True)
    with progress:
        progress.start(ProgressTotals(videos=2, questions=2))
    assert "0/2 videos  0:00:00 so far  ? left" in written.getvalue()
    assert "bottleneck" not in written.getvalue()


def test_brackets_in_a_line_are_text() -> None:
    progress, clock, written = shown(terminal=False)
    progress.start(ProgressTotals(videos=1, questions=1, notes=("[red]",)))
    clock.now += 1.0
    progress.advance(VideoDone(questions=1, seconds={"write": 1.0}))
    assert "[red]" in written.getvalue()
    progress.finish(shards=1, written_bytes=0)
    assert "bottleneck write (decode 0% model 0% encode 0% write 100%)" in written.getvalue()


def test_a_video_before_the_start_is_an_error_of_the_code() -> None:
    progress, _, _ = shown(terminal=False)
    with pytest.raises(RuntimeError, match="before start"):
        progress.advance(GOOD)
    with pytest.raises(RuntimeError, match="before start"):
        progress.finish(shards=0, written_bytes=0)


@pytest.mark.parametrize(("elapsed", "seconds"), [(0, 10), (200, 10), (600, 30), (3600, 180), (86_400, 300)])
def test_lines_become_rarer(elapsed: float, seconds: float) -> None:
    assert seconds_between_lines(elapsed) == seconds


def test_where_there_is_no_terminal_a_line_is_printed_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with ShardProgress("read") as progress:
        for done, at in enumerate((104.0, 110.0, 115.0, 120.0), start=1):
            now[0] = at
            progress(done, 4, done * 10_000_000)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["2/4 shards read, 20 MB, 2 MB/s", "4/4 shards read, 40 MB, 2 MB/s"]
