"""One pass over the packets of a video stream, in decode order: what they show without being decoded."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error

from strive_data.common.files import file_sha256
from strive_data.decode.container_bytes import is_joint
from strive_data.decode.media import packets_of
from strive_data.decode.nal import (
    begins_intra,
    has_idr,
    has_sublayer,
    is_h264_disposable,
    is_hevc_disposable,
    is_hevc_torn,
)

STATE = ("palette", "new_extradata", "param_change")
"""Side data of packets that changes the state of the decoder for all packets after it."""

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
    transport stream show a joint; `gradual` as in PacketIndex; `has_state`: packets have side data named in
    STATE; `packed`: packed B pictures; `keyless`: no packet is a key frame by its flag, so that the first one
    is taken for it.
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


def scan_packets(path: Path, container: Any, stream: Any) -> tuple[PacketScan, list[Any]]:
    """All packets in decode order, and the first ones themselves: up to the third key frame, or HEAD_BYTES.

    `video_id` hashes the encoded packets, so it survives a change of container and does not depend on the
    reader; it is the hash of the file's bytes where no packet can be read. The pass ends at an error.
    """
    codec = stream.codec_context.name
    seen = _SeenPackets(codec=codec, extradata=bytes(stream.codec_context.extradata or b""))
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
    call unreferenced. `torn`: HEVC packets that no encoder writes. `gradual`: as in PacketIndex.
    """

    codec: str
    extradata: bytes
    gradual: bool = False
    layered: bool = False
    has_state: bool = False
    torn: int = 0
    met_key: bool = False

    def add(self, packet: Any) -> Packet:
        is_key, is_disposable = packet.is_keyframe, False
        if self.codec == "h264":
            is_key, is_disposable = self._h264(bytes(packet), is_key)
        elif self.codec == "hevc":
            is_disposable = self._hevc(bytes(packet))
        self.met_key = self.met_key or is_key
        self.has_state = (
            self.has_state
            or is_theora_header(self.codec, packet)
            or any(data.data_type in STATE for data in packet.iter_sidedata())
        )
        return Packet(
            pts=packet.pts,
            dts=packet.dts,
            duration=packet.duration or 0,
            size_bytes=packet.size,
            is_key=is_key,
            is_shown=not packet.is_discard and not is_hidden(self.codec, packet),
            is_disposable=is_disposable,
        )

    def _h264(self, data: bytes, is_key: bool) -> tuple[bool, bool]:
        if not is_key:
            return False, is_h264_disposable(data, self.extradata)
        self.gradual = self.gradual or not has_idr(data, self.extradata)
        # Where a file begins inside a gradual refresh there is nothing better to begin at.
        return not self.met_key or begins_intra(data, self.extradata), False

    def _hevc(self, data: bytes) -> bool:
        self.torn += is_hevc_torn(data, self.extradata)
        self.layered = self.layered or has_sublayer(data, self.extradata)
        return is_hevc_disposable(data, self.extradata)


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


def with_true_keys(scan: PacketScan, head: list[Any], codec: Any) -> PacketScan:
    """The scan with its first packet as a key frame, where it is one though its flag denies it.

    Some containers flag no key frames (SWF), or lose the flag of the first one.
    """
    flagged = [packet.is_key for packet in scan.packets]
    if not flagged or flagged[0]:
        return scan
    if any(flagged) and not _decodes_alone(head[0], codec):
        return scan
    packets = (scan.packets[0]._replace(is_key=True), *scan.packets[1:])
    return replace(scan, packets=packets, keyless=not any(flagged))


def _decodes_alone(packet: Any, codec: Any) -> bool:
    """Whether a decoder makes a sound key frame of a packet alone."""
    decoder = av.CodecContext.create(codec.name, "r")
    decoder.extradata, decoder.thread_count = codec.extradata, 1
    try:
        frames = [*decoder.decode(packet), *decoder.decode(None)]
    except MemoryError:
        raise
    except av.error.FFmpegError:
        return False
    return bool(frames) and bool(frames[0].key_frame) and not frames[0].is_corrupt
