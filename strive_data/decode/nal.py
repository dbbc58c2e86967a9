"""The units of an H.264 packet (ITU-T H.264, section 7.4.1): whether a key frame is a fresh start."""

from __future__ import annotations

from collections.abc import Iterator

_IDR = 5


def has_idr(packet: bytes, extradata: bytes) -> bool:
    """Whether an H.264 packet holds a slice of an IDR picture, before which nothing can be referred to."""
    avcc = len(extradata) > 6 and extradata[0] == 1
    units = _with_lengths(packet, (extradata[4] & 3) + 1) if avcc else _with_start_codes(packet)
    return any(first & 0x1F == _IDR for first in units)


def _with_lengths(packet: bytes, length_bytes: int) -> Iterator[int]:
    """First byte of each unit that follows its own length."""
    at = 0
    while at + length_bytes < len(packet):
        size = int.from_bytes(packet[at : at + length_bytes], "big")
        yield packet[at + length_bytes]
        at += length_bytes + size


def _with_start_codes(packet: bytes) -> Iterator[int]:
    """First byte of each unit that follows the bytes 0, 0, 1."""
    return (part[0] for part in packet.split(b"\0\0\1")[1:] if part)
