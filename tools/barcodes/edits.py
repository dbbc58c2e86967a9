"""Changes to the bytes of finished files, for what no muxer writes."""

from __future__ import annotations

import struct

EDIT_TICKS = 512
"""Ticks of a frame in the MP4 files of the corpus (time base 1/12800, 25 frames a second)."""


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
