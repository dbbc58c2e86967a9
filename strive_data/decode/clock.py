"""Clock jumps in the time stamps of a stream: where they are, and the ticks without them. Pure arithmetic.

Joined recordings, lost packets and broken muxers leave three kinds of jumps: the clock steps back (a reset),
the clock steps forward by far more than a frame lasts (a gap), or one frame, or a stretch of frames, has time
stamps far away from those on both sides (an outlier). FFmpeg's players show the parts before and after a jump
one after the other. `close_jumps` does the same: each part begins where the part before it ends (one that
begins inside a group of pictures by its decoding times, since pictures of both are reordered), and an outlier
gets the place that its neighbours leave free. Gaps up to a limit are real: the last frame stays on the
screen.

Letters: P packets in decode order. Ticks are of the stream's time base.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MAX_REORDER = 16
"""Frames that a decoder may hold back: the most of H.264 and HEVC, and more than any other codec."""

RESET_SECONDS = 0.1
"""A clock that steps back by less only jitters. FFmpeg's command line has the same limit."""

MAX_GAP_SECONDS = {True: 10.0, False: 3600.0}
"""The longest time that one frame stays on the screen, by whether the container's clock may jump (transport
and program streams, Ogg). Both limits are those of FFmpeg's player."""

OUTLIER_SECONDS, OUTLIER_FRAMES = 10.0, 100
"""An outlier is farther than this, in seconds and in frames, from the frames on both sides."""


@dataclass(frozen=True, kw_only=True)
class ClockRules:
    """How a container keeps time.

    `may_jump`: its clock may jump (MAX_GAP_SECONDS). `stores_dts`: it stores decoding times, which never step
    back without a reset. `dates_all`: it stores the times of all frames. A program stream stores those of
    some, and FFmpeg may give a frame without one the time of the frame decoded after it. `marks_losses`: it
    counts its packets, so that the demuxer marks where some are missing.
    """

    may_jump: bool
    stores_dts: bool
    dates_all: bool = True
    marks_losses: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """Ticks int64 [P] without jumps, the part int64 [P] of each packet, and where in [0, P) the jumps are."""

    ticks: Ints
    parts: Ints
    jumps: tuple[int, ...] = ()


def close_jumps(
    pts_P: Ints,
    dts_P: Ints,
    durations_P: Ints,
    is_key_P: Bools,
    is_lost_P: Bools,
    *,
    base: Fraction,
    rules: ClockRules,
) -> Timeline:
    """Remove the jumps from presentation ticks in decode order.

    `dts_P` are decoding ticks, `durations_P` ticks (0: unknown), `base` seconds a tick; `is_lost_P`: whether
    packets may be missing before this one. Where files may have been joined (`rules.may_jump`) and packets
    may be missing, those of a part before its first key frame belong to part -1, unless a key frame is right
    before them: what they refer to is missing.
    """
    limits = _Limits.of(pts_P, base, rules)
    misdated = _misdated(pts_P, dts_P, limits, dates_all=rules.dates_all)
    ticks = _move(pts_P, misdated, limits)
    if _is_steady(ticks, dts_P, limits):
        return Timeline(ticks=ticks, parts=np.zeros(len(pts_P), np.int64))
    outliers = _outliers(ticks, limits)
    ticks, dts = _move(ticks, outliers, limits), dts_P.copy()
    for place in outliers:
        dts[place] = dts[place - 1] if place else dts[min(1, len(dts) - 1)]
    for first, stop, shift in _detours(ticks, limits):
        ticks[first:stop] += shift
        dts[first:stop] = dts[first - 1]
        outliers.append(first)
    parts = _parts(ticks, dts, limits)
    starts = [int(np.argmax(parts == part)) for part in range(1, int(parts.max()) + 1)]
    parts = _without_beheaded(parts, is_key_P, is_lost_P) if rules.may_jump else parts
    lasting = np.where((durations_P > 0) & (durations_P <= limits.gap), durations_P, limits.interval)
    jumps = np.abs(np.diff(dts, prepend=dts[:1])) > limits.reset
    ticks = _lay_out(ticks, dts, parts, lasting, jumps & ~is_key_P & limits.uses_dts)
    return Timeline(ticks=ticks, parts=parts, jumps=tuple(sorted([*outliers, *starts])))


def typical_step(pts_P: Ints, otherwise: int = 1) -> int:
    """The median of the steps from one tick to the next, at least 1; `otherwise` where all are equal."""
    steps = np.diff(np.unique(pts_P))
    return max(int(np.median(steps)), 1) if len(steps) else otherwise


@dataclass(frozen=True, kw_only=True)
class _Limits:
    """The typical time between frames and the limits above, in ticks; whether decoding times show resets.

    `misplaced`: how far off a time is that is surely wrong. A clock that may jump would go on from there.
    """

    interval: int
    gap: int
    outlier: int
    misplaced: int
    reset: int
    uses_dts: bool

    @classmethod
    def of(cls, pts_P: Ints, base: Fraction, rules: ClockRules) -> _Limits:
        interval = typical_step(pts_P)
        outlier = max(round(OUTLIER_SECONDS / base), OUTLIER_FRAMES * interval)
        reset = max(round(RESET_SECONDS / base), 1)
        return cls(
            interval=interval,
            gap=max(round(MAX_GAP_SECONDS[rules.may_jump] / base), 1),
            outlier=outlier,
            misplaced=outlier if rules.may_jump else max(reset, MAX_REORDER // 2 * interval),
            reset=reset,
            uses_dts=rules.stores_dts,
        )


def _is_steady(pts_P: Ints, dts_P: Ints, limits: _Limits) -> bool:
    """Whether nothing can be a jump: no gap, no step back of the decoding times, no frame far out of
    order."""
    order = np.argsort(pts_P, kind="stable")
    if np.any(np.diff(pts_P[order]) > min(limits.gap, limits.outlier)):
        return False
    if limits.uses_dts and np.any(np.diff(dts_P) < -limits.reset):
        return False
    moved = np.abs(order - np.arange(len(order)))
    return not np.any(moved > MAX_REORDER)


def _outliers(pts_P: Ints, limits: _Limits) -> list[int]:
    """Places of single frames far from the frames before them, from those after them and from the next ones.

    Near the end a frame far ahead may be the last one, shown after a long pause: there the limit is `gap`.
    Where more frames follow that are shown before it than a decoder reorders, or the reverse, its time is
    surely wrong, and the limit is `misplaced`.
    """
    found: list[int] = []
    long = np.flatnonzero(np.abs(np.diff(pts_P)) > limits.misplaced)
    for place in np.unique([long, long + 1]).tolist():
        tick = int(pts_P[place])
        before, after = (
            pts_P[max(place - 2 * MAX_REORDER, 0) : place],
            pts_P[place + 1 :][: 2 * MAX_REORDER],
        )
        certain = np.sum(after < tick) > MAX_REORDER or np.sum(before > tick) > MAX_REORDER
        before, after = before[-MAX_REORDER:], after[:MAX_REORDER]
        sides = [float(np.median(side)) for side in (before, after) if len(side)]
        nearest = [abs(tick - int(side)) for side in (*before[-1:], *after[:1])]
        if not sides or max(sides) - min(sides) > limits.outlier:
            continue
        limit = limits.misplaced if certain else max(limits.gap, limits.outlier)
        if min(*(abs(tick - side) for side in sides), *nearest) > limit:
            found.append(place)
    return found


def _detours(pts_P: Ints, limits: _Limits) -> list[tuple[int, int, int]]:
    """Stretches [first, stop) of frames far from those on both sides, or where no order of decoding puts
    them, which leave room for them and little more; and the ticks by which they must be shifted to be in the
    middle of it."""
    found = dict[tuple[int, int], int]()
    leaps = np.abs(np.diff(pts_P))
    for limit in {limits.outlier, limits.misplaced}:
        for leave, back in pairwise(np.flatnonzero(leaps > limit).tolist()):
            before = pts_P[max(leave + 1 - 2 * MAX_REORDER, 0) : leave + 1]
            after = pts_P[back + 1 :][: 2 * MAX_REORDER]
            away = pts_P[leave + 1 : back + 1]
            certain = max(np.sum(after < away.min()), np.sum(before > away.min())) > MAX_REORDER
            before, after = before[-MAX_REORDER:], after[:MAX_REORDER]
            near = np.concatenate([before, after])
            if not certain and np.maximum(away.min() - near, near - away.max()).min() <= limits.outlier:
                continue  # frames of before and behind a gap, reordered
            start, end = int(before.max()), int(after.min())
            spare = end - start - (len(away) + 1) * limits.interval
            if abs(spare) <= MAX_REORDER * limits.interval:
                found[leave + 1, back + 1] = (start + end - int(away.min() + away.max())) // 2
    return [(*stretch, shift) for stretch, shift in found.items()]


def _misdated(pts_P: Ints, dts_P: Ints, limits: _Limits, *, dates_all: bool) -> list[int]:
    """Places whose presentation time is that of the next packet, or far from their decoding time, unlike that
    of most packets, because the container stores none.
    """
    if dates_all or not limits.uses_dts:
        return []
    ahead = pts_P - dts_P
    far = np.abs(ahead - int(np.median(ahead))) > limits.outlier
    same = np.append(np.diff(pts_P) == 0, False)
    return np.flatnonzero(far | same).tolist()


def _move(pts_P: Ints, places: list[int], limits: _Limits) -> Ints:
    """Ticks with those at `places` moved to where the frames around them leave room."""
    ticks, unknown = pts_P.copy(), set(places)
    for place in places:
        unknown.discard(place)
        window = range(max(place - MAX_REORDER, 0), min(place + MAX_REORDER + 1, len(ticks)))
        before = ticks[[other for other in window if other < place]]
        after = ticks[[other for other in window if other > place and other not in unknown]]
        ticks[place] = _free_tick(before, after, limits.interval)
    return ticks


def _free_tick(before: Ints, after: Ints, interval: int) -> int:
    """A tick for a frame between the frames decoded before it and after it.

    Where these are reordered it may belong anywhere among them: it gets the hole nearest to its neighbours.
    """
    if not len(before):
        return int(after.min()) - interval
    if not len(after):
        return int(before.max()) + interval
    near = np.concatenate([before, after])
    ordered = np.sort(near)
    holes = ordered[:-1][np.diff(ordered) > 1.5 * interval] + interval
    if np.all(np.diff(near) > 0) or not len(holes):
        return int(before[-1]) + max(min(interval, int(after[0] - before[-1]) // 2), 0)
    middle = (before[-1] + after[0]) / 2
    return int(holes[np.abs(holes - middle).argmin()])


def _parts(pts_P: Ints, dts_P: Ints, limits: _Limits) -> Ints:
    """The part of each packet: 0, and one more behind each reset or gap."""
    parts = np.zeros(len(pts_P), np.int64)
    part, start = 0, int(pts_P[0])
    latest: list[int] = []  # the highest ticks of this part
    ends = [start]  # the end of each part
    for place, tick in enumerate(pts_P.tolist()):
        late = (
            part > 0
            and tick < start - limits.gap
            and 0 <= ends[part - 1] + limits.gap - tick <= 2 * limits.gap
        )
        if late and len(latest) <= MAX_REORDER:
            parts[place] = part - 1  # reordered: a frame of before the gap
            continue
        if latest and _is_jump(place, tick, latest, dts_P, limits):
            part, latest, start = part + 1, [], tick
            ends.append(tick)
        insort(latest, tick)
        del latest[: -MAX_REORDER - 1]
        ends[part] = latest[-1]
        parts[place] = part
    return parts


def _is_jump(place: int, tick: int, latest: list[int], dts_P: Ints, limits: _Limits) -> bool:
    """Whether a part begins here; `latest` are the highest ticks of the part before, sorted."""
    if tick > latest[-1] + limits.gap:
        return True
    if tick > latest[-1]:
        return False
    if limits.uses_dts and dts_P[place] < dts_P[place - 1] - limits.reset:
        return True
    later = len(latest) - bisect_left(latest, tick + limits.reset)
    return later > MAX_REORDER


def _without_beheaded(parts_P: Ints, is_key_P: Bools, is_lost_P: Bools) -> Ints:
    """Parts, -1 for the packets before the first key frame of a part that has one and may lack packets."""
    kept = parts_P.copy()
    for part in range(int(parts_P.max(initial=0)) + 1):
        places = np.flatnonzero(parts_P == part)
        keys = places[is_key_P[places]]
        if len(keys) and is_lost_P[places[0]] and not is_key_P[max(places[0] - 1, 0)]:
            kept[places[places < keys[0]]] = -1
    return kept


def _lay_out(ticks_P: Ints, dts_P: Ints, parts_P: Ints, lasting_P: Ints, goes_on_P: Bools) -> Ints:
    """Ticks with each part moved to where the part before it ends.

    Where a part goes on with the stream of the one before (`goes_on_P` at its first packet), its decoding
    times do: pictures of both are reordered.
    """
    laid, end = ticks_P.copy(), None
    for part in range(int(parts_P.max(initial=0)) + 1):
        own = np.flatnonzero(parts_P == part)
        if not len(own):
            continue
        begin, first = int(own[0]), int(ticks_P[own].min())
        if end is None:
            start = first
        elif goes_on_P[begin]:
            before = int(laid[begin - 1] - ticks_P[begin - 1] + dts_P[begin - 1] + lasting_P[begin - 1])
            start = first + before - int(dts_P[begin])
        else:
            start = end
        laid[own] += start - first
        end = int((laid[own] + lasting_P[own]).max())
    return laid
