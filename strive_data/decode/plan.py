"""What went wrong while a video was decoded, and which frames it reaches.

A damaged picture is handed on by every picture that refers to it, up to the next key frame, and the decoder
marks the first of them only. So a frame counts as damaged when anything between the key frame that its
decoding begins at and the frame itself was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import av.error

from strive_data.decode.media import packets_until_error
from strive_data.decode.packet_index import PacketIndex

# Which packets must be decoded for the wanted frames: pure arithmetic over a packet index.


@dataclass(frozen=True, kw_only=True)
class Run:
    """One stretch of decoding: packets [start, stop) in decode order, `start` a key frame.

    `wanted` are the places of the packets whose frames are asked for; the last of them is `stop - 1`, since
    a frame refers only to packets before it and the decoder gives up the rest when it is drained.
    """

    start: int
    stop: int
    wanted: frozenset[int]


def plan_runs(index: PacketIndex, wanted_pts: set[int]) -> list[Run]:
    """Group wanted presentation ticks by the key frame from which decoding must begin.

    A frame of a group that is shown before the group's key frame (a leading picture of an open GOP) refers
    to the group before, so its decoding begins one key frame earlier.
    """
    groups: dict[int, set[int]] = {}
    for place, start in _starts(index, wanted_pts):
        groups.setdefault(start, set()).add(place)
    return [
        Run(start=start, stop=max(places) + 1, wanted=frozenset(places))
        for start, places in sorted(groups.items())
    ]


def is_leading(index: PacketIndex, key: int, place: int) -> bool:
    """Whether the packet at `place`, of the group of the key frame at `key`, is shown before that frame."""
    pts, key_pts = index.packets[place].pts, index.packets[key].pts
    return key_pts is not None and pts is not None and pts < key_pts


def _starts(index: PacketIndex, wanted_pts: set[int]) -> Iterator[tuple[int, int]]:
    """Place of each wanted packet, and the place of the key frame that its decoding begins at."""
    key, before = index.first_key, index.first_key
    missing = set(wanted_pts)
    for place, packet in enumerate(index.packets):
        if packet.is_key and place > index.first_key:
            before, key = key, place
        if place < index.first_key or packet.pts not in missing or not packet.is_shown:
            continue
        missing.discard(packet.pts)
        yield place, before if is_leading(index, key, place) else key


# From a place in the packet index to the packets of the open container that begin there.

Numbered = Iterator[tuple[int, Any]]


def packets_from(container: Any, stream: Any, index: PacketIndex, start: int) -> Numbered:
    """Packets from the key frame at `start` on, in decode order, with their places; none if not found."""
    key = index.packets[start]
    for tick in _seek_ticks(index, start):
        try:
            container.seek(tick, stream=stream)
        except av.error.FFmpegError:
            continue
        packets = packets_until_error(container, stream)
        for packet in packets:
            if packet.pts == key.pts and packet.size == key.size_bytes:
                yield start, packet
                yield from enumerate(packets, start + 1)
                return
            if packet.is_keyframe and packet.pts is not None and packet.pts > (key.pts or 0):
                break


def _seek_ticks(index: PacketIndex, start: int) -> Iterator[int]:
    """Where to seek for a key frame: its decoding time, then a key frame earlier, then the beginning.

    Formats seek by decoding or by presentation time, and some land a little late.
    """
    for place in _seek_places(index, start):
        packet = index.packets[place]
        ticks = [tick for tick in (packet.pts, packet.dts) if tick is not None]
        if ticks:
            yield min(ticks)


def _seek_places(index: PacketIndex, start: int) -> Iterator[int]:
    yield start
    before = range(start - 1, index.first_key - 1, -1)
    earlier = next((place for place in before if index.packets[place].is_key), start)
    if earlier != start:
        yield earlier
    if 0 not in (start, earlier):
        yield 0


@dataclass(kw_only=True)
class Damage:
    """Places (packets in decode order) at which decoding raised, and those whose frames came out marked."""

    faults: dict[int, Exception] = field(default_factory=dict)
    marked: set[int] = field(default_factory=set)

    def reaches(self, start: int, place: int) -> bool:
        """Whether a frame, decoded from key frame `start` on, is or refers to something damaged."""
        return any(start <= bad <= place for bad in (*self.faults, *self.marked))
