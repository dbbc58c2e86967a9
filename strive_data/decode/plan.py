"""Which packets must be decoded for the wanted frames: pure arithmetic over a packet index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from strive_data.decode.index import PacketIndex


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
