"""The packets of one stream of an open container, from the present position on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av.error


def packets_of(container: Any, stream: Any) -> Iterator[Any]:
    """Packets that hold something. Raises av.error.FFmpegError where the demuxer meets an error."""
    while True:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    yield packet
            return
        except IndexError:
            # PyAV met a packet of a stream that the file's beginning did not announce; it is behind us, and
            # none of ours.
            continue


def packets_until_error(container: Any, stream: Any) -> Iterator[Any]:
    """Packets that hold something; an error of the demuxer is the end of the file.

    So is want of memory: in a damaged file it is an absurd size (FFmpeg says ENOMEM to both).
    """
    try:
        yield from packets_of(container, stream)
    except av.error.FFmpegError:
        return
