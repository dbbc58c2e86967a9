from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from strive_data.errors import FailureKind
from strive_data.observer import VideoDone, Workload
from strive_data.tally import Tally

WORK = Workload(videos=10, questions=30, videos_done=4, questions_done=11, failures=2)
ONE = VideoDone(
    video="a",
    questions=3,
    failures={FailureKind.TIMEOUT: 1},
    frames=128,
    written_bytes=1000,
    shards=1,
    seconds={"decode": 0.5, "model": 1.5},
)
OTHER = VideoDone(
    video="b",
    questions=2,
    failures={FailureKind.TIMEOUT: 1, FailureKind.CRASH: 1},
    frames=72,
    seconds={"decode": 0.5, "encode": 1.0, "write": 0.5},
)


def test_counts_add_up_with_those_of_earlier_starts() -> None:
    tally = Tally(work=WORK).after(ONE).after(OTHER)
    assert (tally.videos_done, tally.questions_done, tally.failed) == (6, 16, 5)
    assert (tally.frames, tally.shards, tally.written_bytes) == (200, 1, 1000)
    assert tally.failures == {FailureKind.TIMEOUT: 2, FailureKind.CRASH: 1}
    assert tally.stage_shares() == {"decode": 0.25, "model": 0.375, "encode": 0.25, "write": 0.125}
    assert tally.bottleneck() == "model"


def test_nothing_is_said_before_there_is_something_to_go_by() -> None:
    tally = Tally(work=WORK)
    assert tally.seconds_left(5.0) is None
    assert tally.bottleneck() is None
    assert tally.after(VideoDone(video="a", questions=1)).stage_shares() == {}


def test_time_left_is_at_the_pace_of_this_start() -> None:
    tally = Tally(work=WORK).after(ONE).after(OTHER)
    assert tally.seconds_left(10.0) == 10.0 / 2 * 4
    assert Tally(work=Workload(videos=3, questions=3, videos_done=3)).seconds_left(10.0) == 0.0


def test_at_the_end_the_shards_and_bytes_are_those_of_the_build() -> None:
    """The last shard is committed behind the last video, and tars have an end mark."""
    tally = Tally(work=replace(WORK, shards=2, written_bytes=500)).after(ONE)
    assert (tally.shards_done, tally.bytes_done) == (3, 1500)
    tally = tally.finished(shards=4, written_bytes=2600)
    assert (tally.shards_done, tally.bytes_done, tally.videos_done) == (4, 2600, 5)


@given(st.lists(st.sampled_from([ONE, OTHER]), max_size=6))
def test_the_order_of_videos_changes_no_count(done: list[VideoDone]) -> None:
    there, back = Tally(work=WORK), Tally(work=WORK)
    for video in done:
        there = there.after(video)
    for video in reversed(done):
        back = back.after(video)
    assert there == back
