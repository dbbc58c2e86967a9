"""From a place in the packet index to the packets of the open container that begin there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av.error

from strive_data.decode.index import PacketIndex
from strive_data.decode.packets import packets_until_error

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
