from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av.error
import pytest

from strive_data.config import DecodeSettings
from strive_data.decode.clock import ClockRules
from strive_data.decode.media import open_media, packets_until_error, video_stream
from strive_data.decode.packet_index import PacketIndex, index_packets, read_index
from strive_data.decode.packet_scan import Packet, PacketScan
from strive_data.decode.pyav_reader import (
    DecodeErrors,
    Run,
    merge_overlapping,
    packets_from,
    packets_from_start,
    plan_runs,
)
from tests.strive_data.decode.made_checks import MakeClip
from tools.barcodes import CLOSED, OPEN_TS, VFR, Clip

CLOCK = ClockRules(may_jump=False, stores_dts=True)


def index_of(*times: int, keys: set[int], base: int = 10, duration: int = 1) -> PacketIndex:
    """Packets of 1, 2, 3 … bytes in decoding order, their times in ticks of 1/`base` s."""
    packets = tuple(
        Packet(
            pts=pts,
            dts=place * duration,
            duration=duration,
            size_bytes=place + 1,
            is_key=place in keys,
            is_shown=True,
        )
        for place, pts in enumerate(times)
    )
    scan = PacketScan(packets=packets, video_id="x", errors=0)
    index = index_packets(scan, time_base=Fraction(1, base), rate=None, timed=True, clock=CLOCK)
    assert index is not None
    return index


def run(start: int, stop: int, *wanted: int) -> Run:
    return Run(start=start, stop=stop, wanted=frozenset(wanted))


def test_only_the_needed_groups_are_decoded_and_no_further_than_needed() -> None:
    index = index_of(0, 3, 1, 2, 4, 7, 5, 6, 8, 9, keys={0, 4, 8})
    assert plan_runs(index, {2}) == [run(0, 3, 2)]
    assert plan_runs(index, {1, 7}) == [run(0, 2, 1), run(4, 8, 7)]
    assert plan_runs(index, {8}) == [run(8, 9, 8)]
    assert plan_runs(index, set()) == []


def test_leading_picture_of_an_open_group_begins_a_key_frame_earlier() -> None:
    index = index_of(0, 2, 1, 5, 3, 4, 6, keys={0, 3})  # packet 3 (pts 5) is a key; 4 and 5 lead it
    assert plan_runs(index, {4, 6}) == [run(0, 5, 4), run(3, 7, 6)]
    assert plan_runs(index, {1, 5, 3}) == [run(0, 6, 1, 5), run(3, 4, 3)]


def test_runs_that_overlap_are_joined_to_be_read_in_order() -> None:
    runs = [run(0, 6, 1, 5), run(3, 4, 3), run(6, 8, 7), run(7, 9, 8)]
    assert merge_overlapping(runs) == [run(0, 6, 1, 3, 5), run(6, 9, 7, 8)]


@pytest.mark.parametrize("clip", [CLOSED, OPEN_TS, VFR], ids=lambda clip: clip.name)
def test_each_key_frame_is_found_and_what_follows_it(make_clip: MakeClip, clip: Clip) -> None:
    path = make_clip(clip)
    index = read_index(path, DecodeSettings())
    with open_media(path, DecodeSettings()) as container:
        stream = video_stream(container)
        keys = [place for place, packet in enumerate(index.packets) if packet.is_key]
        for key in reversed(keys):
            found = [(place, packet.size) for place, packet in packets_from(container, stream, index, key)]
            rest = enumerate(index.packets[key:], key)
            assert found == [(place, packet.size_bytes) for place, packet in rest]
    with open_media(path, DecodeSettings()) as container:
        found = [
            place
            for place, _ in packets_from_start(packets_until_error(container, video_stream(container)), index)
        ]
        assert found == [*range(index.first_key, len(index.packets))]


STREAM = SimpleNamespace(codec_context=SimpleNamespace(name="h264"))


class LateSeeks:
    """A container whose seeks land two packets late, or fail below `lowest`; its packets are 0, 10, 20 ..."""

    def __init__(self, index: PacketIndex, lowest: int = 0) -> None:
        self.index, self.lowest, self.at = index, lowest, 0
        self.sought: list[int] = []
        self.format = SimpleNamespace(name="mov")

    def seek(self, tick: int, *, stream: Any) -> None:
        self.sought.append(tick)
        if tick < self.lowest:
            raise av.error.PermissionError(1, "cannot seek")
        self.at = tick // 10 + 2 if tick else 0

    def demux(self, stream: Any) -> Iterator[Any]:
        for packet in self.index.packets[self.at :]:
            yield SimpleNamespace(pts=packet.pts, size=packet.size_bytes, is_keyframe=packet.is_key)


def index_of_seek(count: int, keys: set[int]) -> PacketIndex:
    return index_of(*range(0, 10 * count, 10), keys=keys, base=100, duration=10)


def test_a_late_seek_is_tried_again_from_earlier_places() -> None:
    index = index_of_seek(12, keys={0, 3, 6, 7})
    container = LateSeeks(index)
    found = [place for place, _ in packets_from(container, STREAM, index, 7)]
    assert (container.sought, found) == ([70, 60, 0], [7, 8, 9, 10, 11])
    container = LateSeeks(index)
    assert next(packets_from(container, STREAM, index, 6))[0] == 6
    assert container.sought == [60, 30]


def test_a_key_frame_that_cannot_be_reached_gives_nothing() -> None:
    index = index_of_seek(8, keys={0, 4})
    container = LateSeeks(index, lowest=1)
    assert list(packets_from(container, STREAM, index, 4)) == []
    assert container.sought == [40, 0]


def test_errors_reach_what_is_decoded_after_it_from_the_same_key_frame() -> None:
    errors = DecodeErrors(raised={14: ValueError()}, marked={25})
    reached = [place for place in range(10, 20) if errors.reach(10, place)]
    assert reached == [14, 15, 16, 17, 18, 19]
    assert not errors.reach(20, 24)
    assert errors.reach(20, 25)
    assert not errors.reach(30, 39)
    assert not DecodeErrors().reach(0, 99)
    errors.forget_outside([run(10, 14, 13), run(20, 26, 25)])
    assert (errors.raised, errors.marked) == ({}, {25})
