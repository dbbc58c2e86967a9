"""What the bytes of a file show and FFmpeg does not.

ISO files (MP4, MOV, HEIF) are a list of boxes, whose types show whether a video was cut off, or is a still
picture. FFmpeg reads a file of fragments, a Matroska, Ogg, AVI, MXF, ASF or IVF file, a transport or program
stream or a GIF that was cut off, or has zeros in the middle, without an error, and what it lost is missing:
there the chain of boxes, elements, pages, chunks, packets or blocks breaks.
Flash videos (FLV) that were joined byte for byte have a header in the middle: FFmpeg takes it for a tag of
several megabytes and skips the rest of the file. Where transport streams were joined, the counter of the
packets jumps between two frames, behind a new table of programs. What is behind the index of a NUT file, or
behind the frames that an IVF file declares, was appended: FFmpeg takes it for a damaged frame.
"""

from __future__ import annotations

import mmap
import os
import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from strive_data.errors import FailureKind, SampleError

# Of a file that is crafted, each 8 bytes are a box.
MOST_BOXES = 1000
_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_TS_SYNC, _TS_PACKETS = 0x47, (188, 192, 204)
_JOINT_BYTES = 1 << 18
_START, _PACK, _PACK_END, _KLV, _ZEROS = b"\0\0\1", 0xBA, 0xB9, b"\x06\x0e\x2b\x34", bytes(64)
_ASF_FILE, _ASF_HEAD = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"), b"\x82"
_NUT_INDEX = bytes.fromhex("4e58dd672f23e64e")
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


def _is_torn_ogg(content: mmap.mmap) -> bool:
    """Whether a page of an Ogg file (RFC 3533, section 6) is missing, cut off or does not have its checksum.

    Not where anything else was appended: behind the last pages of all streams. The checksum is a CRC-32 of
    the bits in the reverse order of zlib's, which begins at 0. FFmpeg drops such a page.
    """
    at, unfinished = 0, dict[bytes, int]()  # the number of the next page of each stream
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
        stream, number = content[at + 14 : at + 18], int.from_bytes(content[at + 18 : at + 22], "little")
        if unfinished.pop(stream, number) != number:
            return True
        if not content[at + 5] & 4:
            unfinished[stream] = number + 1
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


def _breaks_off(content: mmap.mmap, mark: bytes, size_at: Callable[[mmap.mmap, int], int]) -> bool:
    """Whether elements do not follow each other up to the end, by their sizes.

    Where no `mark` of an element is behind the last one, what is there was appended, unless it begins with
    zeros. Files that do not begin with the mark are not judged.
    """
    at = 0
    while at < len(content) and (size := size_at(content, at)):
        at += size
    is_lost = content.find(mark, at) >= 0 or not any(content[at : at + len(_ZEROS)])
    return content[: len(mark)] == mark and at != len(content) and (at > len(content) or is_lost)


def _gif_size(content: mmap.mmap, at: int) -> int:
    """Bytes of the header or block at `at` in a GIF, with its colours and data; of the trailer and all behind
    it."""
    kind = content[at : at + 1] if at else b"G"
    if kind == b";":
        return len(content) - at
    fixed, flags = {b"G": (13, 10), b",": (11, 9), b"!": (2, 0)}.get(kind, (0, 0))
    colours = content[at + flags : at + flags + 1] if flags else b""
    end = at + fixed + (3 << (colours[0] & 7) + 1 if colours and colours[0] & 0x80 else 0)
    while kind in b"!," and end < len(content) and content[end]:
        end += content[end] + 1
    return end - at + (kind in b"!,") if fixed else 0


def _ps_size(content: mmap.mmap, at: int) -> int:
    """Bytes of the pack header or packet at `at` in a program stream (ISO/IEC 13818-1, section 2.5.3)."""
    head = content[at : at + 14].ljust(14, b"\0")
    if head[:3] != _START or head[3] < _PACK_END:
        return _ps_padding(content, at)
    if head[3] == _PACK:
        return 14 + (head[13] & 7) if head[4] >> 6 == 1 else 12
    return 4 if head[3] == _PACK_END else 6 + int.from_bytes(head[4:6], "big")


def _ps_padding(content: mmap.mmap, at: int) -> int:
    """Bytes of the zeros at `at` that fill sectors: those before a pack of a Video CD (MPEG-1), at most 20
    behind its last one, and those behind the end code."""
    is_ended = content[at - 4 : at] == _START + bytes([_PACK_END])
    if not is_ended and content[4] >> 4 != 2:
        return 0
    end = content.find(_START + bytes([_PACK]), at)
    end = len(content) if end < 0 and (is_ended or at + 20 >= len(content)) else end
    return end - at if end > at and not any(content[at:end]) else 0


def _klv_size(content: mmap.mmap, at: int) -> int:
    """Bytes of the key, length and value at `at` in an MXF file (SMPTE 377-1, section 6.3)."""
    head = content[at : at + 25].ljust(25, b"\0")
    digits = head[16] & 0x7F if head[16] & 0x80 else 0
    size = int.from_bytes(head[17 : 17 + digits], "big") if digits else head[16]
    return 17 + digits + size if head.startswith(_KLV) else 0


def _is_torn_asf(content: mmap.mmap) -> bool:
    """Whether a packet of an ASF file is missing or does not begin as the first: all are of one size."""
    at, start = content.find(_ASF_FILE), int.from_bytes(content[16:24], "little") + 50
    size = int.from_bytes(content[at + 92 : at + 96], "little")
    count = int.from_bytes(content[start - 10 : start - 2], "little")
    heads = content[start : start + min(count * size, len(content)) : max(size, 64)]
    return at >= 0 and heads[:1] == _ASF_HEAD and heads.count(_ASF_HEAD) < count


def _ivf_end(content: mmap.mmap) -> tuple[int, bool]:
    """Where the frames of an IVF file end, and whether nothing is behind them, or they are as many or last as
    long as it declares."""
    declared, at = int.from_bytes(content[24:28], "little"), int.from_bytes(content[6:8], "little")
    count = before = pts = 0
    while len(head := content[at : at + 12]) == 12 and any(head):
        end = at + 12 + int.from_bytes(head[:4], "little")
        if end > len(content):
            break
        at, count, before, pts = end, count + 1, pts, int.from_bytes(head[4:], "little")
    is_long = max(count, 2 * pts - before) >= declared > 0 and content[at : at + 4] != b"DKIF"
    return at, at == len(content) or is_long


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


_TORN: dict[str, Callable[[mmap.mmap], bool]] = {
    "matroska": _is_torn_matroska,
    "ogg": _is_torn_ogg,
    "avi": _is_torn_avi,
    "mpegts": _is_torn_ts,
    "gif": partial(_breaks_off, mark=b"", size_at=_gif_size),
    "mpeg": partial(_breaks_off, mark=_START + bytes([_PACK]), size_at=_ps_size),
    "mxf": partial(_breaks_off, mark=_KLV, size_at=_klv_size),
    "asf": _is_torn_asf,
    "ivf": lambda content: not _ivf_end(content)[1],
    "nut": lambda content: not _nut_end(content)[1],
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


def parts_of(path: Path) -> list[tuple[int, int]]:
    """The ranges of bytes to be read of a joined Flash video, or of an IVF or NUT file to which something was
    appended; none for other files, which are read whole."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        cuts = list[int]()
        if content[:3] == b"FLV":
            cuts = [at for match in _HEADER.finditer(content) if match.start() for at in match.span()]
        elif content[:4] in _ENDS:
            end, is_whole = _ENDS[content[:4]](content)
            cuts = [end] if is_whole and end < len(content) else []
        places = [0, *cuts, len(content)]
    return list(zip(places[::2], places[1::2], strict=False)) if cuts else []


JOINED = "concat:"
"""How FFmpeg's name of a joined file begins."""


def parts_name(name: str, parts: list[tuple[int, int]]) -> str:
    """FFmpeg's name of parts of a file. Raises SampleError where the file's own name would end it early."""
    names = [f"subfile,,start,{start},end,{end},,:{name}" for start, end in parts]
    if len(names) > 1 and "|" in name:
        raise SampleError(
            FailureKind.NOT_MEDIA, f"{name}: a joined Flash video whose name holds |; rename it"
        )
    return names[0] if len(names) == 1 else JOINED + "|".join(names)


def _nut_end(content: mmap.mmap) -> tuple[int, bool]:
    """Where the index of a NUT file ends, which is behind its frames, and whether there is one."""
    at, size = content.rfind(_NUT_INDEX) + len(_NUT_INDEX), 0
    is_whole = at >= len(_NUT_INDEX)
    for byte in content[at : at + 10]:
        size, at = size << 7 | byte & 0x7F, at + 1
        if byte < 0x80:
            break
    return at + size + (4 if size > 4096 else 0), is_whole


_ENDS = {b"DKIF": _ivf_end, b"nut/": _nut_end}
