"""The packets of a video stream, read once without decoding: times, key frames, identity.

Letters: P packets in decode order, F presented frames in order of time, T ticks of the stream's time base.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import numpy as np
import numpy.typing as npt

from strive_data.decode.media import packets_of
from strive_data.decode.nal import (
    begins_intra,
    has_idr,
    has_sublayer,
    is_h264_disposable,
    is_hevc_disposable,
    is_hevc_torn,
)
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Times

UNTIMED_FORMATS = frozenset({"avi", "h264", "hevc", "m4v", "mpegvideo", "obu"})
"""Formats that store no presentation times: what FFmpeg reports for them is a guess."""

CUT_SHARE = 0.9
"""A Matroska file that holds less than this share of its declared duration was cut off: FFmpeg reads such a
file to where it ends, and says nothing. The rest is for sound that goes on longer than the pictures."""

Ints = npt.NDArray[np.int64]


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


@dataclass(frozen=True, kw_only=True, eq=False)
class PacketIndex:
    """All packets in decode order and the timeline that they present.

    `pts` int64 [F], strictly increasing ticks of the presented frames; `end` the tick at which the last
    one ends. `timed` says whether packets carry true presentation times; if not, frame number i of a decode
    from the start is shown at `pts[i]`. `first_key` is the place of the first packet that can be decoded.
    `gradual`: some H.264 key frames are no fresh start (open groups, gradual refresh).
    """

    packets: tuple[Packet, ...]
    pts: Ints
    end: int
    time_base: Fraction
    first_key: int
    timed: bool
    video_id: str
    errors: int
    gradual: bool = False

    @property
    def times(self) -> Times:
        """Presentation times of the frames in seconds from the first one, float64 [F]."""
        seconds: Times = (self.pts - self.pts[0]) * float(self.time_base)
        return seconds

    @property
    def duration_seconds(self) -> float:
        """From the first shown frame to the end of the last one."""
        return float((self.end - int(self.pts[0])) * self.time_base)


@dataclass(frozen=True, kw_only=True)
class PacketScan:
    """Packets of one pass over a file, their hash, how many errors were met; `gradual` as above."""

    packets: tuple[Packet, ...]
    video_id: str
    errors: int
    gradual: bool = False


def read_index(path: Path, container: Any, stream: Any) -> PacketIndex:
    """Index the video stream of an open container: one pass over the file, nothing decoded.

    A Matroska file that was cut off counts as an error. Raises SampleError: zero_frames if no frame can be
    shown, partial_decode if less than half of the declared duration of a damaged file can be read.
    """
    scan = scan_packets(path, container, stream)
    index = index_packets(
        scan,
        time_base=stream.time_base,
        rate=stream.average_rate or stream.guessed_rate,
        timed=not UNTIMED_FORMATS & set(container.format.name.split(",")),
    )
    if index is None:
        message = f"{path}: no frame that can be shown among {len(scan.packets)} packets"
        raise SampleError(FailureKind.ZERO_FRAMES, message)
    is_matroska = "matroska" in container.format.name
    declared_seconds = _matroska_seconds(container, stream) if is_matroska else _stream_seconds(stream)
    if is_matroska and not index.errors and index.duration_seconds < CUT_SHARE * declared_seconds:
        index = replace(index, errors=1)
    _require_half(path, index, declared_seconds)
    return index


def scan_packets(path: Path, container: Any, stream: Any) -> PacketScan:
    """All packets in decode order.

    `video_id` hashes the encoded packets, so it survives a change of container and does not depend on the
    reader; it is the hash of the file's bytes where no packet can be read. The pass ends at an error.
    """
    codec = stream.codec_context.name
    look = _Looks(codec=codec, extradata=bytes(stream.codec_context.extradata or b""))
    digest = sha256(codec.encode())
    packets: list[Packet] = []
    errors = 0
    try:
        for packet in packets_of(container, stream):
            digest.update(packet)
            packets.append(look(packet))
            errors += packet.is_corrupt
    except av.error.FFmpegError:
        errors += 1
    if look.layered:
        packets = [packet._replace(is_disposable=False) for packet in packets]
    return PacketScan(
        packets=tuple(packets),
        video_id=digest.hexdigest()[:32] if packets else file_id(path),
        errors=errors + look.torn,
        gradual=look.gradual,
    )


@dataclass(kw_only=True)
class _Looks:
    """What is seen in the packets of a stream one after the other.

    `layered`: some HEVC pictures are of a temporal sub-layer above the lowest, and may refer to what others
    call unreferenced. `torn`: HEVC packets that no encoder writes. `gradual`: as in PacketIndex.
    """

    codec: str
    extradata: bytes
    gradual: bool = False
    layered: bool = False
    torn: int = 0
    met_key: bool = False

    def __call__(self, packet: Any) -> Packet:
        is_key, is_disposable = packet.is_keyframe, False
        if self.codec == "h264":
            is_key, is_disposable = self._h264(bytes(packet), is_key)
        elif self.codec == "hevc":
            is_disposable = self._hevc(bytes(packet))
        self.met_key = self.met_key or is_key
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


def index_packets(
    scan: PacketScan, *, time_base: Fraction, rate: Fraction | None, timed: bool
) -> PacketIndex | None:
    """Timeline of packets in decode order; None if nothing can be shown.

    Packets before the first key frame, and frames that would be shown before it, need a reference that the
    file does not hold, so they are no part of the timeline.
    """
    packets = scan.packets
    first_key = next((place for place, packet in enumerate(packets) if packet.is_key), None)
    if first_key is None:
        return None
    shown = [packet for packet in packets[first_key:] if packet.is_shown]
    dated = all(packet.pts is not None for packet in shown)
    # Where every time is also the decoding time nothing is reordered, and a guess cannot be wrong.
    timed = dated and (timed or all(packet.pts == packet.dts for packet in shown))
    frames = _timed(shown, packets[first_key]) if timed else _slots(shown)
    if not frames:
        return None
    pts = np.array(sorted(frames), dtype=np.int64)
    last = frames[int(pts[-1])] or _typical_gap(pts, rate, time_base)
    return PacketIndex(
        packets=packets,
        pts=pts,
        end=int(pts[-1]) + last,
        time_base=time_base,
        first_key=first_key,
        timed=timed,
        video_id=scan.video_id,
        errors=scan.errors,
        gradual=scan.gradual,
    )


def is_hidden(codec: str, packet: Any) -> bool:
    """Whether a packet is a reference that is never shown: VP8 has such as packets of their own.

    Bit 4 of a VP8 frame's first byte is `show_frame` (RFC 6386, section 9.1).
    """
    return codec == "vp8" and not memoryview(packet)[0] & 0x10


def file_id(path: Path) -> str:
    """Hash of a file's bytes, in the form of `video_id`."""
    with path.open("rb") as file:
        digest = sha256()
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()[:32]


def _timed(shown: list[Packet], key: Packet) -> dict[int, int]:
    """Presentation tick → duration of the frames that can be shown."""
    start = key.pts if key.pts is not None and key.is_shown else None
    found: dict[int, int] = {}
    for packet in shown:
        if packet.pts is not None and (start is None or packet.pts >= start):
            found.setdefault(packet.pts, packet.duration)
    return found


def _slots(shown: list[Packet]) -> dict[int, int]:
    """Ticks for packets without presentation times: decoding times in order, or durations summed."""
    if all(packet.dts is not None for packet in shown):
        return dict(sorted((packet.dts or 0, packet.duration) for packet in shown))
    found, tick = {}, 0
    for packet in shown:
        found[tick] = packet.duration
        tick += max(packet.duration, 1)
    return found


def _typical_gap(pts: Ints, rate: Fraction | None, time_base: Fraction) -> int:
    if len(pts) > 1:
        return max(int(np.median(np.diff(pts))), 1)
    return max(round(1 / (rate * time_base)), 1) if rate else 1


def _stream_seconds(stream: Any) -> float:
    """Declared duration of a stream, 0 where there is none."""
    return float(stream.duration * stream.time_base) if stream.duration else 0.0


def _matroska_seconds(container: Any, stream: Any) -> float:
    """Declared duration of a Matroska stream: by its tag, else that of the file; 0 where there is none."""
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if tag is None:
        return float((container.duration or 0) / av.time_base)
    hours, minutes, seconds = map(float, tag.groups())
    return 3600 * hours + 60 * minutes + seconds


def _require_half(path: Path, index: PacketIndex, declared_seconds: float) -> None:
    if index.errors and index.duration_seconds < declared_seconds / 2:
        got = f"{index.duration_seconds:.3f} s of {declared_seconds:.3f} s can be read"
        raise SampleError(FailureKind.PARTIAL_DECODE, f"{path}: the file is damaged, {got}")
