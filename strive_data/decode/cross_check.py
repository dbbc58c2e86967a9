"""A second decoder beside the first one, where the first does not tell of damage.

FFmpeg's VP8 decoder gives up a picture whose data ends too early and says nothing: the rest of it is whatever
the memory held, which after a seek is something else than in a decode from the start. libvpx reads on in
zeros, as the format has it (RFC 6386, section 7.3), and refuses a first key frame that ends too early. Both
agree on every bit of a sound stream, so where they do not, the picture is damaged.
"""

from __future__ import annotations

from typing import Any

import av
import av.error
import numpy as np

WITNESSES = {"vp8": "libvpx"}
"""Decoders that are not to be trusted with damage, and those that they are held against."""


class Witness:
    """Decodes the packets of one run, from a key frame on, beside the decoder named `codec`.

    Where that decoder needs no witness nothing is decoded and `contradicts` is always False. Raises
    av.codec.codec.UnknownCodecError where this build of FFmpeg has not the other decoder.
    """

    def __init__(self, codec: str) -> None:
        self._codec: Any = None
        if codec in WITNESSES:
            self._codec = av.CodecContext.create(WITNESSES[codec], "r")
            self._codec.thread_count = 1

    def contradicts(self, packet: Any, frames: list[Any]) -> bool:
        """Whether the other decoder gives other pictures than `frames` for the next packet."""
        if self._codec is None:
            return False
        try:
            others = self._codec.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            return True
        return len(others) != len(frames) or not all(map(_same_picture, frames, others))


def _same_picture(frame: Any, other: Any) -> bool:
    if (frame.width, frame.height, frame.format.name) != (other.width, other.height, other.format.name):
        return False
    return all(map(_same_plane, frame.planes, other.planes))


def _same_plane(plane: Any, other: Any) -> bool:
    return np.array_equal(_pixels(plane), _pixels(other))


def _pixels(plane: Any) -> Any:
    """The bytes of a plane of one byte a sample, [height, width], without the padding of its rows."""
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]
