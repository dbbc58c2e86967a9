"""One pass over the packets of a video stream, in decode order: what they show without being decoded.

The units of H.264 and HEVC packets are those of ITU-T H.264 and H.265, section 7.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error

from strive_data.common.files import file_sha256
from strive_data.decode.container_bytes import is_joint
from strive_data.decode.media import packets_of

STATE = ("palette", "new_extradata", "param_change")
"""Side data of packets that changes the state of the decoder for all packets after it."""

CARRIED = ("apng",)
"""Codecs whose pictures may be drawn over one before the key frame: APNG restores what a picture covered."""

_ZEROS = bytes(32)
_ZEROED = re.compile(rb"\0{32}[^\0\1]")  # zeros before a start code, or at the end, are padding
FULL = re.compile(r"flv|h263|libdav1d|mpeg\d(video)?|msmpeg4(v2)?|rv\d0|theora|vp[689]f?|wmv\d")
"""Decoders whose packets never hold so many zeros: encoders left at most 7 even of black pictures."""

FARTHEST = 1 << 60
"""No tick is farther from 0: those of damaged packets may be, and sums of them have 64 bits."""

_IDR = 5
_H264_SLICES = range(1, 6)
_H264_REFERRED_TO = 0x60  # nal_ref_idc
_INTRA_SLICES = (2, 4, 7, 9)  # I and SI
_H264_PARAMETERS, _HEVC_PARAMETERS = (7, 8), (32, 33, 34)

# Types of HEVC units: slices are below _FIRST_OTHER; below _FIRST_KEY the even ones are not referred to.
_FIRST_KEY, _FIRST_OTHER = 16, 32
_PREFIX_MESSAGE, _SUFFIX_MESSAGE = 39, 40
_PICTURE_HASH, _HASH_BYTES = 132, {0: 16, 1: 2, 2: 4}  # MD5, CRC, checksum: bytes for each plane
_START = b"\0\0\1"
_NEVER_INSIDE = (b"\0\0\0", _START, b"\0\0\2")
_PADDING = 3  # zeros that some muxers leave behind a unit

# User data of an MPEG-4 stream whose packets hold a picture and the B picture shown before it.
_PACKED = re.compile(rb"DivX\d+(?:b|Build)\d+p")


JOINT = 3
"""Packets before a joint that the demuxer marks as damaged only because the file was joined there."""

HEAD_BYTES = 1 << 24
"""The packets that a file begins with are kept up to this size, to be decoded without a seek to the start."""


class Packet(NamedTuple):
    """One encoded frame. Ticks are of the stream's time base; `pts` or `dts` is None where not stored.

    `is_key`: decoding can begin here. `is_disposable`: surely no other frame refers to it.
    A tuple, since a long video has hundreds of thousands: a frozen dataclass takes twice the time to make.
    """

    pts: int | None
    dts: int | None
    duration: int
    size_bytes: int
    is_key: bool
    is_shown: bool
    is_disposable: bool = False


@dataclass(frozen=True, kw_only=True)
class PacketScan:
    """Packets of one pass over a file, their hash, how many errors the demuxer and the packets show.

    `corrupt` are the places of packets that the demuxer marked, `joints` those before which the bytes of a
    transport stream show a joint; `gradual` as in PacketIndex; `has_state`: the decoder needs more than the
    packets since a key frame (STATE, CARRIED, parameters that are sent once); `packed`: packed B pictures;
    `keyless`: no packet is a key frame by its flag, so that the first one is taken for it; `leads`: packets
    whose pictures may be shown before the first key frame, since they can be decoded; `held`: packets that
    the decoder takes before it gives the frame of the first; `dropped`: pictures behind the first key frame
    that it does not give, since they refer to others before it.
    """

    packets: tuple[Packet, ...]
    video_id: str
    errors: int
    corrupt: frozenset[int] = frozenset()
    joints: frozenset[int] = frozenset()
    gradual: bool = False
    has_state: bool = False
    packed: bool = False
    keyless: bool = False
    leads: frozenset[int] = frozenset()
    held: int = 0
    dropped: int = 0


def scan_packets(path: Path, container: Any, stream: Any) -> tuple[PacketScan, list[Any]]:
    """All packets in decode order, and the first ones themselves: up to the third key frame, or HEAD_BYTES.

    `video_id` hashes the encoded packets, so it survives a change of container and does not depend on the
    reader; it is the hash of the file's bytes where no packet can be read. The pass ends at an error.
    """
    codec = stream.codec_context.name
    extradata = bytes(stream.codec_context.extradata or b"")
    seen = _SeenPackets(codec=codec, extradata=extradata, has_state=codec in CARRIED)
    digest = sha256(codec.encode())
    packets: list[Packet] = []
    corrupt: set[int] = set()
    joints: set[int] = set()
    head: list[Any] = []
    keys = head_bytes = errors = 0
    try:
        for packet in packets_of(container, stream):
            digest.update(packet)
            head_bytes += packet.size
            if packet.is_corrupt:
                corrupt.add(len(packets))
            is_near = not corrupt.isdisjoint(range(len(packets) - JOINT, len(packets) + 1))
            if is_near and packet.pos is not None and is_joint(path, packet.pos):
                joints.add(len(packets))
            packets.append(seen.add(packet))
            keys += packets[-1].is_key
            if not head or (keys < 3 and head_bytes <= HEAD_BYTES):
                head.append(packet)
    except av.error.FFmpegError:
        errors = 1
    if seen.layered:
        packets = [packet._replace(is_disposable=False) for packet in packets]
    scan = PacketScan(
        packets=tuple(packets),
        video_id=digest.hexdigest()[:32] if packets else file_sha256(path)[:32],
        errors=errors + seen.torn,
        corrupt=frozenset(corrupt),
        joints=frozenset(joints),
        gradual=seen.gradual,
        has_state=seen.has_state,
        packed=codec == "mpeg4" and bool(_PACKED.search(seen.extradata + b"".join(map(bytes, head[:1])))),
    )
    return scan, head


@dataclass(kw_only=True)
class _SeenPackets:
    """What the packets of a stream show one after the other.

    `layered`: some HEVC pictures are of a temporal sub-layer above the lowest, and may refer to what others
    call unreferenced. `torn`: packets that no encoder writes. `gradual`: as in PacketIndex. `known`: bytes
    that hold the first parameters of an H.264 or HEVC stream; `changed`: other ones were sent.
    """

    codec: str
    extradata: bytes
    has_state: bool
    gradual: bool = False
    layered: bool = False
    torn: int = 0
    met_key: bool = False
    known: bytes = b""
    changed: bool = False

    def add(self, packet: Any) -> Packet:
        is_key, is_disposable = packet.is_keyframe, False
        if self.codec in ("h264", "hevc"):
            data = bytes(packet)
            units = nal_units(self.codec, data, self.extradata)
            self._note_parameters(units, data, is_key)
            if self.codec == "h264":
                is_key, is_disposable = self._h264(units, is_key)
            else:
                is_disposable = self._hevc(units, data)
        elif FULL.fullmatch(self.codec) and _ZEROS in (data := bytes(packet)):
            self.torn += bool(_ZEROED.search(data))
        self.met_key = self.met_key or is_key
        self.has_state = (
            self.has_state
            or is_theora_header(self.codec, packet)
            or any(data.data_type in STATE for data in packet.iter_sidedata())
        )
        return Packet(
            pts=packet.pts and max(-FARTHEST, min(packet.pts, FARTHEST)),
            dts=packet.dts and max(-FARTHEST, min(packet.dts, FARTHEST)),
            duration=packet.duration or 0,
            size_bytes=packet.size,
            is_key=is_key,
            is_shown=not packet.is_discard and not is_hidden(self.codec, packet),
            is_disposable=is_disposable,
        )

    def _note_parameters(self, units: list[bytes], data: bytes, is_key: bool) -> None:
        """Where parameters have changed, a decoder that begins at a key frame without any has other ones."""
        self.known = self.known or self.extradata + data
        sent = [unit for unit in units if is_parameters(self.codec, unit)]
        self.changed = self.changed or any(unit.rstrip(b"\0") not in self.known for unit in sent)
        self.has_state = self.has_state or (self.changed and is_key and not sent)

    def _h264(self, units: list[bytes], is_key: bool) -> tuple[bool, bool]:
        slices = (unit for unit in units if unit[0] & 0x1F in _H264_SLICES)
        self.torn += any(_has_zeros(unit.rstrip(b"\0")) for unit in slices)
        if not is_key:
            return False, is_h264_disposable(units)
        self.gradual = self.gradual or not has_idr(units)
        # Where a file begins inside a gradual refresh there is nothing better to begin at.
        return not self.met_key or begins_intra(units), False

    def _hevc(self, units: list[bytes], data: bytes) -> bool:
        self.torn += is_hevc_torn(units, data, self.extradata)
        self.layered = self.layered or has_sublayer(units)
        return is_hevc_disposable(units)


def is_hidden(codec: str, packet: Any) -> bool:
    """Whether a packet is never shown: VP8 has references as packets of their own, and Theora has headers.

    Bit 4 of a VP8 frame's first byte is `show_frame` (RFC 6386, section 9.1).
    """
    return is_theora_header(codec, packet) or (codec == "vp8" and not memoryview(packet)[0] & 0x10)


def is_theora_header(codec: str, packet: Any) -> bool:
    """Whether a packet gives a Theora decoder new tables: those of a second stream in an Ogg file.

    Bit 7 of its first byte says so (Theora specification, section 6.1).
    """
    return codec == "theora" and bool(memoryview(packet)[0] & 0x80)


def is_parameters(codec: str, unit: bytes) -> bool:
    """Whether an H.264 or HEVC unit holds parameters of the sequence or of pictures."""
    if codec == "h264":
        return unit[0] & 0x1F in _H264_PARAMETERS
    return unit[0] >> 1 & 63 in _HEVC_PARAMETERS


def has_idr(units: list[bytes]) -> bool:
    """Whether an H.264 packet holds a slice of an IDR picture, before which nothing can be referred to."""
    return any(unit[0] & 0x1F == _IDR for unit in units)


def begins_intra(units: list[bytes]) -> bool:
    """Whether the first slice of an H.264 packet refers to no other picture.

    The first key frame of a gradual refresh refers to others: it is whole only some pictures later, and only
    if the ones between are not damaged.
    """
    first = next((unit for unit in units if unit[0] & 0x1F in _H264_SLICES), b"")
    bits = "".join(f"{byte:08b}" for byte in first[1:9])
    _, rest = _exp_golomb(bits)  # first_mb_in_slice
    kind, _ = _exp_golomb(rest)  # slice_type
    return bool(first) and (first[0] & 0x1F == _IDR or kind in _INTRA_SLICES)


def is_h264_disposable(units: list[bytes]) -> bool:
    """Whether nothing refers to the picture of an H.264 packet, and no parameters are in it."""
    kinds = [unit[0] for unit in units]
    has_slice = any(kind & 0x1F in _H264_SLICES for kind in kinds)
    return has_slice and not any(kind & _H264_REFERRED_TO for kind in kinds)


def is_hevc_disposable(units: list[bytes]) -> bool:
    """Whether nothing of its own temporal sub-layer refers to the picture of an HEVC packet."""
    slices = [kind for unit in units if (kind := unit[0] >> 1 & 63) < _FIRST_OTHER]
    return bool(slices) and all(kind < _FIRST_KEY and kind % 2 == 0 for kind in slices)


def is_hevc_torn(units: list[bytes], packet: bytes, extradata: bytes) -> bool:
    """Whether an HEVC packet holds what no encoder writes: units that do not fill it, or zeros inside of one.

    FFmpeg's decoder keeps quiet about most of what is wrong inside a picture. An encoder breaks up two zero
    bytes wherever a byte below 3 would follow, so that a stretch that was zeroed is seen here.
    """
    length_bytes = _length_bytes("hevc", extradata)
    if length_bytes and not _filled_by_lengths(packet, length_bytes):
        return True
    others = (unit for unit in units if not _is_message(unit))
    return any(_has_zeros(unit[:-_PADDING] if length_bytes else unit.rstrip(b"\0")) for unit in others)


def has_sublayer(units: list[bytes]) -> bool:
    """Whether an HEVC packet holds a slice of a temporal sub-layer above the lowest.

    Where no packet does, "sub-layer non-reference" pictures are referred to by none.
    """
    return any(unit[1] & 7 != 1 for unit in units if len(unit) > 1 and unit[0] >> 1 & 63 < _FIRST_OTHER)


def without_messages(packet: bytes, extradata: bytes) -> bytes:
    """An HEVC packet without its messages (SEI), but for the sound MD5 or checksum of its picture."""
    length_bytes = _length_bytes("hevc", extradata)
    units = [unit for unit in nal_units("hevc", packet, extradata) if not _is_message(unit)]
    if length_bytes:
        return b"".join(len(unit).to_bytes(length_bytes, "big") + unit for unit in units)
    return b"".join(_START + unit for unit in units)


def _is_message(unit: bytes) -> bool:
    """Whether an HEVC unit holds messages, and the first one is no whole decoded picture hash (section
    D.2.19)."""
    kind = unit[0] >> 1 & 63
    if kind != _SUFFIX_MESSAGE:
        return kind == _PREFIX_MESSAGE
    message = unit[2:].replace(b"\0\0\3", b"\0\0")
    if len(message) < 3 or message[0] != _PICTURE_HASH:
        return True
    size = _HASH_BYTES.get(message[2], 0)
    return message[1] not in (1 + size, 1 + 3 * size) or len(message) <= 2 + message[1]


def nal_units(codec: str, packet: bytes, extradata: bytes) -> list[bytes]:
    """The units of an H.264 or HEVC packet, without empty ones."""
    length_bytes = _length_bytes(codec, extradata)
    units = _after_lengths(packet, length_bytes) if length_bytes else _after_start_codes(packet)
    return [unit for unit in units if unit]


def _length_bytes(codec: str, extradata: bytes) -> int:
    """Bytes of the length before each unit, 0 where start codes are before them."""
    at = 4 if codec == "h264" else 21
    return (extradata[at] & 3) + 1 if len(extradata) > at + 1 and extradata[0] == 1 else 0


def _has_zeros(unit: bytes) -> bool:
    return any(code in unit for code in _NEVER_INSIDE)


def _filled_by_lengths(packet: bytes, length_bytes: int) -> bool:
    """Whether units that follow their own lengths end where the packet does."""
    at = 0
    while at < len(packet):
        at += length_bytes + int.from_bytes(packet[at : at + length_bytes], "big")
    return at == len(packet)


def _after_lengths(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    """Each unit that follows its own length; the last one may be cut off."""
    at = 0
    while at + length_bytes < len(packet):
        start = at + length_bytes
        at = start + int.from_bytes(packet[at:start], "big")
        yield packet[start:at]


def _after_start_codes(packet: bytes) -> Iterator[bytes]:
    """Each unit that follows the bytes 0, 0, 1."""
    return iter(packet.split(_START)[1:])


def _exp_golomb(bits: str) -> tuple[int, str]:
    """The number that a string of bits begins with (section 9.1), and the bits behind it."""
    zeros = len(bits) - len(bits.lstrip("0"))
    end = 2 * zeros + 1
    return int(bits[zeros:end] or "0", 2) - 1, bits[end:]
