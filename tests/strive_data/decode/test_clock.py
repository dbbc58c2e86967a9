"""Clock jumps in time stamps: 25 frames a second in ticks of 1/100 s, decoded in the order of x264's B
pictures."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from strive_data.decode.clock import ClockRules, Timeline, close_jumps

FILE = ClockRules(may_jump=False, stores_dts=False)
BROADCAST = ClockRules(may_jump=True, stores_dts=True)
VOB = ClockRules(may_jump=True, stores_dts=True, dates_all=False)
STEP = 4


def group(count: int, start: int = 0) -> list[int]:
    """Presentation ticks in decode order: a P picture, then the B picture shown before it."""
    shown = [start + STEP * number for number in range(count)]
    order = [0, *(n for first in range(1, count - 1, 2) for n in (first + 1, first))]
    return [shown[n] for n in order] + ([shown[-1]] if count % 2 == 0 else [])


def close(
    pts: list[int],
    rules: ClockRules,
    keys: tuple[int, ...] = (0,),
    dts: list[int] | None = None,
    *,
    lost: bool = True,
) -> Timeline:
    is_key = np.zeros(len(pts), dtype=np.bool_)
    is_key[list(keys)] = True
    decoding = np.array(dts if dts is not None else pts, dtype=np.int64)
    durations = np.full(len(pts), STEP)
    is_lost = np.full(len(pts), lost)
    ticks = np.array(pts, dtype=np.int64)
    return close_jumps(ticks, decoding, durations, is_key, is_lost, base=Fraction(1, 100), rules=rules)


def steady_dts(*parts: tuple[int, int]) -> list[int]:
    """Decoding ticks of parts, each a count and a start."""
    return [start + STEP * number for count, start in parts for number in range(count)]


def test_a_steady_clock_is_left_alone() -> None:
    for pts in (group(101), group(40, start=90_000), [0, 4, 8, 800, 804]):
        line = close(pts, FILE)
        assert line.ticks.tolist() == pts
        assert line.jumps == ()


@pytest.mark.parametrize("steps", [-20, -25, -29])
def test_a_stretch_whose_clock_is_back_gets_its_place_back(steps: int) -> None:
    """As a Matroska cluster with a wrong time: no order of decoding shows its frames so early."""
    true = group(121)
    line = close([tick + STEP * steps * (30 <= n < 40) for n, tick in enumerate(true)], FILE)
    assert (line.ticks.tolist(), line.jumps) == (true, (30,))


@pytest.mark.parametrize("second", [0, 30, 372, 1500, 90_000])
def test_parts_follow_each_other_whatever_the_clock_of_the_second(second: int) -> None:
    """Two resets, one into the last frames, and two gaps."""
    pts = group(101) + group(51, start=second)
    line = close(pts, BROADCAST, keys=(0, 101), dts=steady_dts((101, -4), (51, second - 4)))
    assert sorted(line.ticks.tolist()) == list(range(0, 152 * STEP, STEP))
    assert line.ticks[:101].tolist() == pts[:101]
    assert line.jumps == (101,)


def test_three_parts_of_which_the_second_is_far_ahead() -> None:
    """It fits between the others, but with seconds to spare: it is no stretch with a wrong clock."""
    starts = (0, 12_000, 1200)
    pts = [tick for start in starts for tick in group(41, start=start)]
    dts = steady_dts(*((41, start - 4) for start in starts))
    line = close(pts, BROADCAST, keys=(0, 41, 82), dts=dts)
    assert sorted(line.ticks.tolist()) == list(range(0, 123 * STEP, STEP))
    assert line.jumps == (41, 82)


def test_a_gap_is_real_up_to_the_limit_of_the_container() -> None:
    limits = ((BROADCAST, 9, False), (BROADCAST, 11, True), (FILE, 3500, False), (FILE, 3700, True))
    for rules, seconds, closed in limits:
        start = 400 + 100 * seconds
        pts = group(99) + group(99, start=start)
        line = close(pts, rules, keys=(0, 99), dts=pts)
        assert (line.jumps == (99,)) == closed
        assert line.ticks.max() == (99 * 2 - 1) * STEP if closed else start + 98 * STEP


@pytest.mark.parametrize(
    ("place", "far"),
    [
        (place, far)
        for place in (0, 1, 30, 31, 97)
        for far in (200, -200, 6_000, 2_871_550, -2_871_550)
        if place > 1 or far > 0
    ],
)
def test_an_outlier_gets_the_place_that_its_neighbours_leave(place: int, far: int) -> None:
    """Not a first frame far before the others: behind that is a gap."""
    pts = group(151)
    true, pts[place] = pts[place], pts[place] + far
    line = close(pts, FILE)
    assert line.ticks[place] == true
    assert line.jumps == (place,)


@pytest.mark.parametrize("far", [6_000, 700_000, -700_000])
@pytest.mark.parametrize("rules", [FILE, BROADCAST])
def test_a_stretch_of_outliers_gets_the_place_that_its_neighbours_leave(rules: ClockRules, far: int) -> None:
    """As a fragment or a cluster with a wrong time of its own."""
    true = group(151)
    pts = [tick + far * (31 <= place < 51) for place, tick in enumerate(true)]
    line = close(pts, rules, dts=[tick - 4 for tick in pts])
    assert line.ticks.tolist() == true
    assert line.jumps == (31,)


def test_a_last_frame_after_a_long_pause_is_no_outlier() -> None:
    pts = [*group(99), 30_000]
    assert close(pts, FILE).ticks.tolist() == pts


def test_a_time_that_a_vob_file_does_not_store_is_not_believed() -> None:
    """FFmpeg dates the last P picture before a gap of a VOB file by the first packet behind it."""
    pts, dts = group(101) + group(51, start=90_000), steady_dts((101, -4), (51, 90_000 - 4))
    pts[100 - 1] = 90_000
    line = close(pts, VOB, keys=(0, 101), dts=dts)
    assert sorted(line.ticks.tolist()) == list(range(0, 152 * STEP, STEP))
    assert line.jumps == (101,)
    pts = group(101)
    pts[49] = pts[50]  # a P picture by its B picture
    assert close(pts, VOB, dts=steady_dts((101, -4))).ticks.tolist() == group(101)


@pytest.mark.parametrize("rules", [ClockRules(may_jump=False, stores_dts=True), BROADCAST])
def test_frames_behind_a_pause_are_not_shown_before_it(rules: ClockRules) -> None:
    """Decoding times lag behind: two frames behind the pause have those of the last two before it."""
    pts = [4, 0, 12, 8, 20, 16, *(4000 + tick for tick in (4, 0, 12, 8, 20, 16))]
    line = close(pts, rules, keys=(0, 6), dts=[-8, *sorted(pts)[:-1]])
    moved = 4000 - 24 if rules.may_jump else 0
    assert line.ticks.tolist() == [*pts[:6], *(tick - moved for tick in pts[6:])]


def test_frames_of_a_part_before_its_key_frame_are_marked() -> None:
    pts = group(51) + group(51)
    line = close(pts, BROADCAST, keys=(0, 60), dts=steady_dts((51, -4), (51, -4)))
    parts: npt.NDArray[np.int64] = line.parts
    assert parts.tolist() == [0] * 51 + [-1] * 9 + [1] * 42
    assert line.ticks[parts == 1].min() == 51 * STEP


@pytest.mark.parametrize("jump", [90_000, -100])
def test_pictures_are_reordered_across_a_jump_inside_a_group(jump: int) -> None:
    """The clock of packets 50 and later is another one, and 50 is shown before 49."""
    true, dts = group(101), steady_dts((101, -4))
    pts, decoding = ([t + jump * (n >= 50) for n, t in enumerate(ticks)] for ticks in (true, dts))
    line = close(pts, BROADCAST, dts=decoding, lost=False)
    assert true[50] < true[49]
    assert line.ticks.tolist() == true
    assert line.jumps == (50,)


@pytest.mark.parametrize(
    ("rules", "keys", "lost"), [(BROADCAST, (0, 50), True), (FILE, (0,), True), (BROADCAST, (0,), False)]
)
def test_frames_whose_key_frame_is_before_the_jump_are_kept(
    rules: ClockRules, keys: tuple[int, ...], lost: bool
) -> None:
    """The join lost the time of the key frame, or the clock was reset and no packet is missing."""
    dts = steady_dts((51, -4), (51, -4))
    line = close(group(51) + group(51), rules, keys=(*keys, 60), dts=dts, lost=lost)
    assert line.parts.tolist() == [0] * 51 + [1] * 51
