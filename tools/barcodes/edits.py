"""Changes to finished files and to their packets, for what no muxer writes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av

EDIT_TICKS = 512
"""Ticks of a frame in the MP4 files of the corpus (time base 1/12800, 25 frames a second)."""

UNIT = 1 << 16
"""One, in the display matrix of an MP4 file."""


def start_at_frame(data: bytes, frame: int) -> bytes:
    """An MP4 file whose edit list begins `frame` frames later: those before are decoded and not shown."""
    edited = bytearray(data)
    at = data.index(b"elst") + 4 + 4 + 4 + 4  # version and flags, count, segment duration; then media_time
    (start,) = struct.unpack_from(">i", data, at)
    struct.pack_into(">i", edited, at, start + frame * EDIT_TICKS)
    return bytes(edited)


def without_avi_index(data: bytes) -> bytes:
    """An AVI file whose table of frames is gone, as after a recording that was broken off."""
    return data[: data.rindex(b"idx1")]


def all_marked_as_keys(data: bytes) -> bytes:
    """An AVI file whose table of frames calls every frame a key frame."""
    edited = bytearray(data)
    at = data.rindex(b"idx1")
    for entry in range(at + 8, at + 8 + int.from_bytes(data[at + 4 : at + 8], "little"), 16):
        edited[entry + 4] |= 0x10
    return bytes(edited)


def with_matrix(data: bytes, a: float, b: float, c: float, d: float) -> bytes:
    """An MP4 file with another display matrix: the pixel (x, y) goes to (a·x + c·y, b·x + d·y)."""
    edited = bytearray(data)
    at = data.index(b"tkhd") + 4 + 4 + 5 * 4 + 8 + 4 * 2  # version, times and id, reserved, four small fields
    numbers = [round(number * UNIT) for number in (a, b, 0, c, d, 0, 0, 0)]
    struct.pack_into(">9i", edited, at, *numbers, 1 << 30)
    return bytes(edited)


def remux(source: Path, target: Path, edit: Callable[[int, Any], None]) -> Path:
    """Copy the video packets of a file into another container; `edit` changes each, given its place."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for place, packet in enumerate(reader.demux(video=0)):
            if packet.size:
                packet.stream = stream
                edit(place, packet)
                writer.mux(packet)
    return target


def rewrite(source: Path, target: Path, edit: Callable[[int, bytes], bytes]) -> Path:
    """As `remux`, but `edit` gives other bytes for those of each packet."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for place, old in enumerate(reader.demux(video=0)):
            if old.size:
                packet = av.Packet(edit(place, bytes(old)))
                packet.pts, packet.dts, packet.time_base = old.pts, old.dts, old.time_base
                packet.duration, packet.is_keyframe, packet.stream = old.duration, old.is_keyframe, stream
                writer.mux(packet)
    return target
