"""What the bytes of a file show and FFmpeg does not.

ISO files (MP4, MOV, HEIF) are a list of boxes, whose types show whether a video was cut off, or is a still
picture. FFmpeg reads a file of fragments, a Matroska, Ogg or AVI file, a transport stream or a GIF that was
cut off, or has zeros in the middle, without an error, and what it lost is missing: there the chain of boxes,
elements, pages, chunks, packets or blocks breaks.
Flash videos (FLV) that were joined byte for byte have a header in the middle: FFmpeg takes it for a tag of
several megabytes and skips the rest of the file. Where transport streams were joined, the counter of the
packets jumps between two frames, behind a new table of programs.
"""

from __future__ import annotations

import io
import mmap
import os
import re
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

# Of a file that is crafted, each 8 bytes are a box.
MOST_BOXES = 1000
_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_TS_SYNC, _TS_PACKETS = 0x47, (188, 192, 204)
_JOINT_BYTES = 1 << 18
_TAGS, _TEXT = (b"TAG", b"ID3", b"APETAGEX"), frozenset(b"\t\n\r") | frozenset(range(0x20, 0x7F))
# Where none of these is behind the last whole chunk of an AVI file, what is there was appended.
_CHUNK = re.compile(rb"RIFF|LIST|\d\d(?:dc|db|wb|pc)")

# Signature, version, flags (sound, pictures), size of the header, size of the tag before the first.
_HEADER = re.compile(rb"FLV\x01[\x01\x04\x05]\x00\x00\x00\x09\x00\x00\x00\x00", re.DOTALL)


def iso_boxes(path: Path) -> list[bytes]:
    """Types of the first top-level boxes of an ISO base media file, until one does not fit."""
    return [kind for kind, _ in islice(_iso_chain(path), MOST_BOXES)]


def _iso_chain(path: Path) -> Iterator[tuple[bytes, int]]:
    """Type and end of each top-level box, until one does not fit."""
    offset = 0
    with path.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        while offset + 8 <= size_bytes:
            file.seek(offset)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if not all(0x20 <= letter < 0x7F for letter in kind):
                return
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            offset = offset + length if length else size_bytes
            yield kind, offset
            if 0 < length < 8:
                return


def is_torn(path: Path, formats: frozenset[str]) -> bool:
    """Whether a file of fragments, or of a format in `_TORN`, ends or breaks off inside of its structure."""
    if "mov" in formats:
        return _is_torn_iso(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(check(content) for name, check in _TORN.items() if name in formats)


def _is_torn_iso(path: Path) -> bool:
    """Whether a file of fragments breaks off in one, or before others. A tag of a music file or a text behind
    the last one was appended, and anything but fragments behind their index (mfra); without an index other
    bytes may have been a fragment."""
    fragments, last, at, size_bytes = False, b"", 0, path.stat().st_size
    for kind, end in _iso_chain(path):
        fragments = fragments or kind == b"moof"
        if end > size_bytes:
            break
        last, at = kind, end
    if not fragments or at == size_bytes:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content[at : at + (1 << 16)]
        if start.startswith(_TAGS) or all(byte in _TEXT for byte in start):
            return False
        return last != b"mfra" or content.find(b"moof", at) >= 0


def _is_torn_matroska(content: mmap.mmap) -> bool:
    """Whether the elements of the segment and of its clusters do not follow each other up to its end."""
    at, end = 0, len(content)
    while at < end:
        head = content[at : at + 12]
        width = 9 - head[0].bit_length()
        if width > 4 or not any(head[width : width + 1]):
            return True
        element, head = head[:width], head[width:]
        # The size of the element (RFC 8794, section 6): all ones where it is not known.
        digits = 9 - head[0].bit_length()
        unknown = (1 << 7 * digits) - 1
        size = int.from_bytes(head[:digits], "big") & unknown
        at += width + digits
        if element == _SEGMENT and size != unknown:
            end = at + size
            if end > len(content):
                return True
        at += 0 if element in (_SEGMENT, _CLUSTER) else size
    return at > end


def _is_torn_gif(content: mmap.mmap) -> bool:
    """Whether the blocks of a GIF do not follow each other up to its trailer or its end."""
    at = 13 + _gif_colours(content[10:11])
    while at < len(content) and content[at : at + 1] != b";":
        if content[at : at + 1] == b"!":
            at += 2
        elif content[at : at + 1] == b",":
            at += 11 + _gif_colours(content[at + 9 : at + 10])
        else:
            return True
        while at < len(content) and content[at]:
            at += content[at] + 1
        at += 1
    return at > len(content)


def _is_torn_ogg(content: mmap.mmap) -> bool:
    """Whether a page of an Ogg file (RFC 3533, section 6) is cut off or does not have its checksum.

    Not where anything else was appended: behind the last pages of all streams. The checksum is a CRC-32 of
    the bits in the reverse order of zlib's, which begins at 0. FFmpeg drops such a page.
    """
    at, unfinished = 0, set[bytes]()
    while at < len(content):
        if at and not unfinished and content.find(b"OggS", at) < 0:
            return False
        lengths = content[at + 27 : at + 27 + content[at + 26]] if at + 27 < len(content) else b""
        end = at + 27 + len(lengths) + sum(lengths)
        if content[at : at + 4] != b"OggS" or end > len(content):
            return True
        page = content[at : at + 22] + bytes(4) + content[at + 26 : end]
        check = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        if check.to_bytes(4, "little").translate(REVERSED)[::-1] != content[at + 22 : at + 26]:
            return True
        stream, is_last = content[at + 14 : at + 18], content[at + 5] & 4
        unfinished = unfinished - {stream} if is_last else unfinished | {stream}
        at = end
    return False


def _is_torn_avi(content: mmap.mmap) -> bool:
    """Whether the chunks of an AVI file do not follow each other up to its declared end, or others are behind
    the last one. Not all writers pad chunks of an odd size."""
    at = declared = 0
    while at < len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        declared = at + 8 + size if name == b"RIFF" else declared
        is_list = name in (b"RIFF", b"LIST")
        end = at + (12 if is_list else 8 + size)
        if end > len(content) or not all(0x20 <= letter < 0x7F for letter in name):
            rest = content[at:]
            return at < declared or bool(_CHUNK.search(rest))
        at = end + (size % 2 and not is_list and content[end : end + 1] == b"\0")
    return False


def _is_torn_ts(content: mmap.mmap) -> bool:
    """Whether a transport stream lacks sync bytes or ends inside of a packet.

    Not where bytes were put between its packets: FFmpeg finds the next one. Packets of 192 bytes have their
    time in 4 bytes before the sync byte.
    """
    aligned = bytes([_TS_SYNC] * 5)
    for size in _TS_PACKETS:
        for at in range(size):
            if content[at : at + 5 * size : size] == aligned:
                syncs, rest = content[at::size], (len(content) - at) % size
                is_whole = syncs.count(_TS_SYNC) == len(syncs) and rest in (0, size - 4)
                return syncs.endswith(aligned) and not is_whole
    return False


def _gif_colours(flags: bytes) -> int:
    """Bytes of a colour table, by the flags that say whether there is one."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


_TORN = {
    "matroska": _is_torn_matroska,
    "ogg": _is_torn_ogg,
    "avi": _is_torn_avi,
    "mpegts": _is_torn_ts,
    "gif": _is_torn_gif,
}


def is_joint(path: Path, position: int) -> bool:
    """Whether transport streams were joined before the frame that begins at the byte `position`.

    FFmpeg takes the jump of the counter for lost packets. Those that are lost leave no table in their place.
    """
    start = max(position - _JOINT_BYTES, 0)
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(position - start + 4)
    at = position - start
    if len(data) < at + 4 or data[at] != _TS_SYNC:
        return False
    stride = next((size for size in _TS_PACKETS if at >= size and data[at - size] == _TS_SYNC), len(data))
    key, has_table = _ts_header(data, at), False
    while at >= stride:
        at -= stride
        stream, counter = _ts_header(data, at)
        if stream == key[0]:
            return has_table and (counter + 1) % 16 != key[1]
        has_table = has_table or stream == 0
    return False


def _ts_header(data: bytes, at: int) -> tuple[int, int]:
    """Stream and counter of the packet of a transport stream at `at`; the table of programs is stream 0."""
    return int.from_bytes(data[at + 1 : at + 3], "big") & 0x1FFF, data[at + 3] & 15


def open_joined_flash(path: Path) -> BinaryIO | None:
    """A joined Flash video as one file; None if the file is not one."""
    with path.open("rb") as file:
        if file.read(3) != b"FLV":
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            headers = [match.span() for match in _HEADER.finditer(content) if match.start()]
            end = len(content)
    if not headers:
        return None
    starts, stops = [0, *(stop for _, stop in headers)], [*(start for start, _ in headers), end]
    return io.BufferedReader(_Parts(path, list(zip(starts, stops, strict=True))))


class _Parts(io.RawIOBase):
    """The byte ranges `parts` of a file, one after the other."""

    def __init__(self, path: Path, parts: list[tuple[int, int]]) -> None:
        self._file, self._parts, self._at = path.open("rb"), parts, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        size_bytes = sum(stop - start for start, stop in self._parts)
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: size_bytes}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        at = self._at
        for start, stop in self._parts:
            if at < stop - start:
                self._file.seek(start + at)
                data = self._file.read(min(len(buffer), stop - start - at))
                buffer[: len(data)] = data
                self._at += len(data)
                return len(data)
            at -= stop - start
        return 0

    def close(self) -> None:
        self._file.close()
        super().close()
