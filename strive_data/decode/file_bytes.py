"""What the bytes of a file show that FFmpeg does not: boxes, a cut, joined parts.

ISO files (MP4, MOV, HEIF) are a list of boxes; their types show whether a video was cut off, or is a still
picture. A Matroska file that was cut off is shorter than its segment. Flash videos (FLV) that were joined
byte for byte have a header in the middle: FFmpeg takes it for a tag of several megabytes and skips the rest
of the file.
"""

from __future__ import annotations

import io
import mmap
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

# Signature, version, flags (sound, pictures), size of the header, size of the tag before the first.
_HEADER = re.compile(rb"FLV\x01[\x01\x04\x05]\x00\x00\x00\x09\x00\x00\x00\x00", re.DOTALL)


def iso_boxes(path: Path) -> list[bytes]:
    """Types of the top-level boxes of an ISO base media file, until one does not fit."""
    boxes: list[bytes] = []
    offset = 0
    with path.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        while offset + 8 <= size_bytes and len(boxes) < 1000:
            file.seek(offset)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if not all(0x20 <= letter < 0x7F for letter in kind):
                break
            boxes.append(kind)
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length < 8:
                break
            offset += length
    return boxes


def is_cut_matroska(path: Path) -> bool:
    """Whether a Matroska file ends before its segment does. FFmpeg reads such a file without an error."""
    with path.open("rb") as file:
        head = file.read(1 << 12)
    at, end = 0, 0
    while at + 12 < len(head):
        width = 9 - head[at].bit_length()
        element, at = head[at : at + width], at + width
        size, at, known = _ebml_size(head, at)
        if element == b"\x18\x53\x80\x67":
            end = at + size if known else 0
            break
        at += size
    return end > path.stat().st_size


def _ebml_size(data: bytes, at: int) -> tuple[int, int, bool]:
    """Size of an EBML element (RFC 8794, section 6), where its content begins, whether the size is known."""
    width = 9 - data[at].bit_length()
    raw = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return raw, at + width, raw != (1 << 7 * width) - 1


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
