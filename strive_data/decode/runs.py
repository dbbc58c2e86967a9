"""Which packets must be decoded for the wanted frames, how to reach them in the file, and what errors reach.

A frame refers only to packets before it, back to a key frame. A damaged picture damages every picture that
refers to it, up to the next key frame, and the decoder marks the first of them only. So a frame counts as
damaged when anything between the key frame that its decoding begins at and the frame itself was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import av.error

from strive_data.decode.media import packets_until_error
from strive_data.decode.packet_index import PacketIndex

Numbered = Iterator[tuple[int, Any]]
"""Packets with their places in decode order."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One stretch of decoding: packets [start, stop) in decode order, `start` a key frame.

    `wanted` are the places of the packets whose frames are wanted; the last of them is `stop - 1`, since the
    decoder gives up the frames that it holds back when it is drained.
    """

    start: int
    stop: int
    wanted: frozenset[int]


@dataclass(kw_only=True)
class DecodeErrors:
    """Places (packets in decode order) at which decoding raised, and those whose frames came out marked."""

    raised: dict[int, Exception] = field(default_factory=dict)
    marked: set[int] = field(default_factory=set)

    def reach(self, start: int, place: int) -> bool:
        """Whether a frame, decoded from key frame `start` on, is damaged or refers to something damaged."""
        return any(start <= bad <= place for bad in (*self.raised, *self.marked))

    def forget_outside(self, runs: list[Run]) -> None:
        """Drop what was raised where no run needs it."""
        inside = {place for run in runs for place in self.raised if run.start <= place < run.stop}
        self.raised = {place: error for place, error in self.raised.items() if place in inside}


def plan_runs(index: PacketIndex, wanted: Collection[int]) -> list[Run]:
    """Group the places of wanted packets by the key frame from which decoding must begin.

    A frame of a group that is shown before the group's key frame (a leading picture of an open GOP) refers
    to the group before, so its decoding begins one key frame earlier.
    """
    groups: dict[int, set[int]] = {}
    for place, start in _starts(index, wanted):
        groups.setdefault(start, set()).add(place)
    return [
        Run(start=start, stop=max(places) + 1, wanted=frozenset(places))
        for start, places in sorted(groups.items())
    ]


def merge_overlapping(runs: list[Run]) -> list[Run]:
    """Runs joined where one begins before the other stops, so that packets can be read once, in order."""
    merged: list[Run] = []
    for run in runs:
        if merged and run.start < merged[-1].stop:
            before = merged.pop()
            stop, wanted = max(before.stop, run.stop), before.wanted | run.wanted
            run = Run(start=before.start, stop=stop, wanted=wanted)
        merged.append(run)
    return merged


def is_leading(index: PacketIndex, key: int, place: int) -> bool:
    """Whether the packet at `place`, of the group of the key frame at `key`, is shown before that frame."""
    pts, key_pts = index.packets[place].pts, index.packets[key].pts
    return key_pts is not None and pts is not None and pts < key_pts


def packets_from(container: Any, stream: Any, index: PacketIndex, start: int) -> Numbered:
    """Packets from the key frame at `start` on, reached by seeking; no packets if it is not found."""
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


def packets_from_start(packets: Iterable[Any], index: PacketIndex) -> Numbered:
    """The packets of a file that was not sought yet, from the first that can be decoded on.

    A seek to the start is no replacement: a demuxer gives some of the decoder's state (a palette) only once.
    """
    return ((place, packet) for place, packet in enumerate(packets) if place >= index.first_key)


def _starts(index: PacketIndex, wanted: Collection[int]) -> Iterator[tuple[int, int]]:
    """Place of each wanted packet, and the place of the key frame that its decoding begins at."""
    keys = [place for place, packet in enumerate(index.packets) if packet.is_key and place >= index.first_key]
    group = 0
    for place in sorted(wanted):
        while group + 1 < len(keys) and keys[group + 1] <= place:
            group += 1
        before = max(group - 1, 0)
        yield place, keys[before if is_leading(index, keys[group], place) else group]


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
