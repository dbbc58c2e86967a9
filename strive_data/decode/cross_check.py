"""A second decoder beside the first one, where the first is silent about damage.

VP8: FFmpeg's decoder gives up a picture whose data ends too early without an error: the rest of it is
whatever the memory held, which after a seek is something else than in a decode from the start. libvpx reads
on in zeros, as the format has it (RFC 6386, section 7.3), and refuses a first key frame that ends too early.
Both agree on every bit of a sound stream, so where they do not, the picture is damaged.

HEVC: FFmpeg's decoder passes over errors in a picture unless its settings make it raise, and then it gives no
picture. So the strict decoder runs beside the lenient one. It gets the packets without their messages (SEI),
which decide nothing about a picture, and whose errors are therefore no damage.

FFV1: FFmpeg's decoder only logs that a slice does not have its checksum, so it is computed here.
"""

from __future__ import annotations

import zlib
from typing import Any

import av
import av.error
import numpy as np

from strive_data.decode.container_bytes import REVERSED
from strive_data.decode.packet_scan import without_messages

PICTURES = {"vp8": "libvpx"}
"""Decoders that are silent about damage, and those whose pictures theirs are compared with."""

STRICT = dict.fromkeys(("hevc", "png", "apng"), "explode+crccheck")
"""Decoders that are silent about damage unless this `err_detect` is set. The chunks of PNG have checksums.
Where HEVC has the MD5 of its pictures (H.265, section D.3.19) they are compared, so that a single turned bit
is found."""

_SOUND = (0xFFFFFFFF, 0xA1CEFD61)
"""What zlib's CRC gives for a sound FFV1 slice when it begins at this value: version 3, version 4."""


def has_broken_slice(packet: bytes) -> bool:
    """Whether a slice of an FFV1 packet does not have its checksum (RFC 9043, section 4.9).

    A slice ends in its size (3 bytes), a byte and a CRC-32 of the bits in the reverse order of zlib's. A
    stream without checksums has no such chain of sizes: it is not judged.
    """
    end, sound = len(packet), True
    while end >= 8:
        start = end - 8 - int.from_bytes(packet[end - 8 : end - 5], "big")
        bits = packet[max(start, 0) : end].translate(REVERSED)
        sound, end = sound and any(zlib.crc32(bits, value) == value for value in _SOUND), start
    return end == 0 and not sound


class CrossCheck:
    """Decodes the packets of one run, from a key frame on, beside the decoder `codec`.

    `strict` runs the strict decoder for the codecs that have one; where the first decoder is strict itself,
    or its codec needs no check, nothing is decoded and there are no differences. Raises
    av.codec.codec.UnknownCodecError where this build of FFmpeg does not have the other decoder.
    """

    def __init__(self, codec: Any, *, strict: bool = False) -> None:
        self._other: Any = None
        self._has_slices = codec.name == "ffv1"
        self._extradata = bytes(codec.extradata or b"")
        self._is_strict = strict and codec.name in STRICT
        if codec.name in PICTURES:
            self._other = av.CodecContext.create(PICTURES[codec.name], "r")
        elif self._is_strict:
            self._other = av.CodecContext.create(codec.name, "r")
            self._other.extradata = codec.extradata
            self._other.options = {"err_detect": STRICT[codec.name]}
        if self._other is not None:
            self._other.thread_count = 1

    def difference(self, packet: Any, frames: list[Any], skip_frame: Any = "DEFAULT") -> Exception | None:
        """The error that shows `frames` of the next packet to be damaged, None where nothing does.

        `skip_frame` is that of the first decoder for this packet.
        """
        if self._has_slices and has_broken_slice(bytes(packet)):
            return ValueError("a slice does not have its checksum")
        if self._other is None:
            return None
        if self._is_strict:
            self._other.skip_frame = skip_frame
            if self._other.name == "hevc":
                packet = av.Packet(without_messages(bytes(packet), self._extradata))
        try:
            others = self._other.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError as error:
            found: Exception = error
            return found
        if self._is_strict or (len(others) == len(frames) and all(map(_same_picture, frames, others))):
            return None
        return ValueError("two decoders give different pictures")


def _same_picture(frame: Any, other: Any) -> bool:
    """Whether two frames show the same: alpha, which only one decoder may give, is never shown."""
    if (frame.width, frame.height, _shown(frame)) != (other.width, other.height, _shown(other)):
        return False
    planes = zip(frame.planes[:3], other.planes[:3], strict=True)
    return all(np.array_equal(_pixels(plane), _pixels(same)) for plane, same in planes)


def _shown(frame: Any) -> str:
    """Name of a frame's pixel format without its alpha."""
    return str(frame.format.name).replace("yuva", "yuv")


def _pixels(plane: Any) -> Any:
    """The bytes of a plane of one byte a sample, [height, width], without the padding of its rows."""
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]
