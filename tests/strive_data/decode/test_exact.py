from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from strive_data.decode.exact import why_inexact
from strive_data.decode.index import Packet, PacketIndex

MOV = frozenset({"mov", "mp4"})


def packet(pts: int, *, key: bool = False, shown: bool = True) -> Packet:
    return Packet(pts=pts, dts=pts, duration=10, size_bytes=5, is_key=key, is_shown=shown)


CLOSED = PacketIndex(
    packets=(packet(0, key=True), packet(20), packet(10), packet(30, key=True)),
    pts=np.array([0, 10, 20, 30]),
    end=40,
    time_base=Fraction(1, 100),
    first_key=0,
    timed=True,
    video_id="x",
    errors=0,
)
OPEN = (packet(0, key=True), packet(10), packet(30, key=True), packet(20))
HIDDEN = (packet(0, key=True, shown=False), *CLOSED.packets[1:])
TIMES = np.array([0.0, 0.1, 0.2, 0.3])


def test_closed_groups_with_the_same_times_are_exact() -> None:
    assert why_inexact(CLOSED, MOV, TIMES) is None
    assert why_inexact(CLOSED, MOV, TIMES + 0.001) is None
    assert why_inexact(CLOSED, frozenset({"matroska", "webm"}), TIMES) is None


@pytest.mark.parametrize(
    ("index", "formats", "times", "reason"),
    [
        (CLOSED, frozenset({"mpegts"}), TIMES, "container is mpegts"),
        (replace(CLOSED, errors=1), MOV, TIMES, "damaged"),
        (replace(CLOSED, timed=False), MOV, TIMES, "no presentation times"),
        (replace(CLOSED, first_key=1), MOV, TIMES, "begins inside a group"),
        (replace(CLOSED, packets=HIDDEN), MOV, TIMES, "decoded and not shown"),
        (replace(CLOSED, packets=OPEN), MOV, TIMES, "open groups"),
        (CLOSED, MOV, TIMES[:3], "decord finds 3 frames and the index 4"),
        (CLOSED, MOV, TIMES * 1.01, "other times"),
    ],
)
def test_each_doubt_is_named(
    index: PacketIndex, formats: frozenset[str], times: np.ndarray, reason: str
) -> None:
    assert reason in str(why_inexact(index, formats, times))
