from __future__ import annotations

from fractions import Fraction

from strive_data.decode.index import Packet, PacketIndex, PacketScan, index_packets
from strive_data.decode.plan import Run, plan_runs


def index_of(*times: int, keys: set[int]) -> PacketIndex:
    packets = tuple(
        Packet(pts=pts, dts=place, duration=1, size_bytes=9, is_key=place in keys, is_shown=True)
        for place, pts in enumerate(times)
    )
    scan = PacketScan(packets=packets, video_id="x", errors=0)
    index = index_packets(scan, time_base=Fraction(1, 10), rate=None, timed=True)
    assert index is not None
    return index


def run(start: int, stop: int, *wanted: int) -> Run:
    return Run(start=start, stop=stop, wanted=frozenset(wanted))


def test_only_the_needed_groups_are_decoded_and_no_further_than_needed() -> None:
    index = index_of(0, 3, 1, 2, 4, 7, 5, 6, 8, 9, keys={0, 4, 8})
    assert plan_runs(index, {1}) == [run(0, 3, 2)]
    assert plan_runs(index, {3, 6}) == [run(0, 2, 1), run(4, 8, 7)]
    assert plan_runs(index, {8}) == [run(8, 9, 8)]


def test_leading_picture_of_an_open_group_begins_a_key_frame_earlier() -> None:
    index = index_of(0, 2, 1, 5, 3, 4, 6, keys={0, 3})  # packet 3 (pts 5) is a key; 4 and 5 lead it
    assert plan_runs(index, {3, 6}) == [run(0, 5, 4), run(3, 7, 6)]
    assert plan_runs(index, {2, 4, 5}) == [run(0, 6, 1, 5), run(3, 4, 3)]


def test_nothing_wanted_or_not_there() -> None:
    index = index_of(0, 1, keys={0})
    assert plan_runs(index, set()) == []
    assert plan_runs(index, {77}) == []
