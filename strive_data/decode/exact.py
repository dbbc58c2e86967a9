"""Where decord can be trusted: pure, over the packets that the demuxer shows.

Seen on the corpus of bar codes (tests/strive_data/decode): without a word decord gives other frames than
those shown for open groups of pictures, for packets that are decoded and not shown (edit lists), for streams
that begin inside a group, and in containers that store no presentation times or cannot be seeked by them.
"""

from __future__ import annotations

import numpy as np

from strive_data.decode.index import PacketIndex
from strive_data.decode.plan import is_leading
from strive_data.schema import Times

EXACT_FORMATS = frozenset({"mov", "matroska"})
"""FFmpeg's names of the containers in which decord finds the frame that it was asked for."""

SAME_SECONDS = 2e-3
"""Two demuxers' times of one frame agree to this: Matroska stores whole milliseconds."""


def why_inexact(index: PacketIndex, formats: frozenset[str], times_F: Times) -> str | None:
    """Why decord, which gives its frames the times `times_F` seconds, may be wrong; None if it is exact."""
    if not formats & EXACT_FORMATS:
        return f"its container is {', '.join(sorted(formats))}"
    if index.errors:
        return "the file is damaged"
    if not index.timed:
        return "its packets have no presentation times"
    if index.first_key > 0:
        return "it begins inside a group of pictures"
    if not all(packet.is_shown for packet in index.packets):
        return "it has packets that are decoded and not shown"
    if index.gradual or _has_open_group(index):
        return "it has open groups of pictures or gradual refreshes"
    if len(times_F) != len(index.pts):
        return f"decord finds {len(times_F)} frames and the index {len(index.pts)}"
    if np.abs(times_F - index.times).max() > SAME_SECONDS:
        return "decord gives its frames other times than the index"
    return None


def _has_open_group(index: PacketIndex) -> bool:
    key = 0
    for place, packet in enumerate(index.packets):
        key = place if packet.is_key else key
        if is_leading(index, key, place):
            return True
    return False
