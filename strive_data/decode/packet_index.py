"""The packets of a video stream, read once without decoding: times, key frames, identity.

Letters: P packets in decode order, F presented frames in order of time. Ticks are of the stream's time base.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import accumulate, chain, islice, pairwise, takewhile
from pathlib import Path
from typing import Any

import av
import numpy as np

from strive_data.config import DecodeSettings
from strive_data.decode.clock import MAX_GAP_SECONDS, ClockRules, Ints, Timeline, close_jumps, typical_step
from strive_data.decode.container_bytes import JOINED, is_torn
from strive_data.decode.media import STILL_CODECS, decode, open_media, packets_until_error, video_stream
from strive_data.decode.packet_scan import JOINT, Packet, PacketScan, scan_packets
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Times

UNTIMED_FORMATS = frozenset({"asf", "avi", "h264", "hevc", "m4v", "mpegvideo", "obu", "vvc"})
"""Formats that store no presentation times: what FFmpeg reports for them is a guess."""

NO_DTS_FORMATS = frozenset({"matroska", "ogg"})
"""Formats that store no decoding times: FFmpeg computes them from the presentation times."""

TS_DISCONT = 0x0200
"""FFmpeg's flag of the formats whose clock may jump (AVFMT_TS_DISCONT)."""

REORDER_PROBE = 64
"""Packets that are decoded to see what a decoder shows of them, and in which order."""

DROPS_LEADING = ("hevc", "vvc")
"""Codecs whose decoders drop pictures that are shown before the first key frame and lack their references."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PacketIndex:
    """All packets in decode order and the timeline that they present.

    `pts` int64 [F], non-decreasing ticks of the presented frames, clock jumps closed; `end` the tick at which
    the last one ends. If `timed`, packets have true presentation times and frame f is that of the packet at
    `places[f]`. If not, frame number f of a decode from the start is shown at `pts[f]`. `first_key` is the
    place of the first packet that can be decoded. `gradual`: some H.264 key frames are no fresh start (open
    groups, gradual refresh). `needs_all`: frames can only be decoded from the start on, since they have no
    times, no key frame is known, or the decoder's state is also carried outside of key frames.
    """

    packets: tuple[Packet, ...]
    pts: Ints
    places: Ints
    end: int
    time_base: Fraction
    first_key: int
    timed: bool
    video_id: str
    errors: int
    discontinuities: int = 0
    gradual: bool = False
    needs_all: bool = False

    @property
    def times(self) -> Times:
        """Presentation times of the frames in seconds from the first one, float64 [F]."""
        seconds: Times = (self.pts - self.pts[0]) * float(self.time_base)
        return seconds

    @property
    def duration_seconds(self) -> float:
        """From the first shown frame to the end of the last one."""
        return float((self.end - int(self.pts[0])) * self.time_base)


def read_index(path: Path, settings: DecodeSettings) -> PacketIndex:
    """Index the video stream of a file; raises SampleError as `open_media` and `index_stream` do."""
    with open_media(path, settings) as container:
        return index_stream(path, container, settings)[0]


def index_stream(path: Path, container: Any, settings: DecodeSettings) -> tuple[PacketIndex, list[Any]]:
    """Index the video stream of a container that was just opened, in one pass; also the first packets.

    Nothing is decoded but where key flags or times may lie.
    A break in the file's structure counts as an error. Raises SampleError: zero_frames if no frame can be
    shown, partial_decode if less than half of the declared duration of a damaged file can be read,
    no_video_stream for a single picture of a format for pictures.
    """
    stream, formats = video_stream(container), frozenset(container.format.name.split(","))
    scan, head = scan_packets(path, container, stream)
    scan = _without_negative(scan) if "matroska" in formats else scan
    clock = ClockRules(
        may_jump=bool(container.format.flags & TS_DISCONT) or container.name.startswith(JOINED),
        stores_dts=not NO_DTS_FORMATS & formats,
        dates_all="mpeg" not in formats,
        marks_losses="mpegts" in formats,
    )
    guessed, rate = bool(UNTIMED_FORMATS & formats), stream.average_rate or stream.guessed_rate
    scan, timed = _ask_decoder(scan, path, stream.codec_context, settings, guessed=guessed)
    index = index_packets(scan, time_base=stream.time_base, rate=rate, timed=timed, clock=clock)
    if index is None:
        message = f"{path}: no frame that can be shown among {len(scan.packets)} packets"
        raise SampleError(FailureKind.ZERO_FRAMES, message)
    codec = stream.codec_context.name
    if len(scan.packets) == 1 and codec in STILL_CODECS:
        raise SampleError(FailureKind.NO_VIDEO_STREAM, f"{path}: one picture ({codec}), not a video")
    if not index.errors and is_torn(path, formats):
        index = replace(index, errors=1)
    declared_seconds = _declared_seconds(container, stream)
    if index.errors and not index.discontinuities and index.duration_seconds < declared_seconds / 2:
        got = f"{index.duration_seconds:.3f} s of {declared_seconds:.3f} s can be read"
        raise SampleError(FailureKind.PARTIAL_DECODE, f"{path}: the file is damaged, {got}")
    return index, head


def _without_negative(scan: PacketScan) -> PacketScan:
    """The scan without leading pictures of a first key frame, which a stream was cut at, before time 0.

    FFmpeg gives no time to a Matroska packet whose time is negative.
    """
    packets = scan.packets
    if not packets or not packets[0].is_key or packets[0].pts is None:
        return scan
    hidden = (packet._replace(is_shown=False) if packet[:2] == (None, None) else packet for packet in packets)
    return replace(scan, packets=tuple(hidden))


def _ask_decoder(
    scan: PacketScan, path: Path, codec: Any, settings: DecodeSettings, *, guessed: bool
) -> tuple[PacketScan, bool]:
    """The scan with what the decoder shows of the first frames, and whether presentation times are true.

    The first packet may be a key frame though its flag denies it: some containers flag none (SWF), or lose
    the flag of the first. Where all times are the decoding times, nothing is reordered and even a guess is
    right; unless the decoder reorders nevertheless, so that they are decoding times alone. So they are, too,
    where they are no guess and do not step back.
    """
    if not scan.packets:
        return scan, False
    first, *others = scan.packets
    shown = [packet for packet in scan.packets if packet.is_shown]
    times = [packet.pts for packet in shown if packet.pts is not None]
    in_order = all(packet.pts == packet.dts is not None for packet in shown) or (
        not guessed and times == sorted(times)
    )
    key = next((packet.pts for packet in shown if packet.is_key), None)
    leads = codec.name in DROPS_LEADING and key is not None and min(times) < key
    asked = not first.is_key or (codec.has_b_frames and (guessed or in_order or leads))
    frames = _first_frames(path, settings) if asked else []
    order = [place for _, place, _ in frames]
    behind_first = range(order[0] + 1, min(REORDER_PROBE, len(scan.packets))) if order else ()
    keyless = not any(packet.is_key for packet in scan.packets)
    is_key = first.is_key or keyless or (order[:1] == [0] and frames[0][2])
    scan = replace(
        scan,
        packets=(first._replace(is_key=is_key), *others),
        keyless=keyless,
        held=max((behind - place for behind, place, _ in frames[:1]), default=0),
        dropped=len([*takewhile(lambda place: place not in order, behind_first)]),
        leads=frozenset(order if codec.name in DROPS_LEADING else ()),
    )
    return scan, order == sorted(order) if in_order else not guessed


def _first_frames(path: Path, settings: DecodeSettings) -> list[tuple[int, int, bool]]:
    """Of each of the first frames, the place of the packet with which it comes out of the decoder, that of
    its own, and whether it is a sound key frame."""
    frames: list[tuple[int, int, bool]] = []
    with open_media(path, settings) as container:
        stream = video_stream(container)
        packets = islice(packets_until_error(container, stream), REORDER_PROBE)
        for place, packet in enumerate(chain(packets, [None])):
            if packet is not None:
                packet.pts = place
            decoded = [frame for frame in decode(stream.codec_context, packet) if frame.pts is not None]
            frames += [(place, frame.pts, frame.key_frame and not frame.is_corrupt) for frame in decoded]
    return frames


def index_packets(
    scan: PacketScan, *, time_base: Fraction, rate: Fraction | None, timed: bool, clock: ClockRules
) -> PacketIndex | None:
    """Timeline of packets in decode order; None if nothing can be shown.

    `timed`: whether presentation times are to be believed. Packets before the first key frame, and frames
    that would be shown before it (but for `scan.leads`), need a reference that the file does not hold, so
    they are no part of the timeline. The same holds behind a clock jump.
    """
    packets = scan.packets
    first_key = next((place for place, packet in enumerate(packets) if packet.is_key), None)
    if first_key is None:
        return None
    shown = np.array([p for p in range(first_key, len(packets)) if packets[p].is_shown], dtype=np.int64)
    if not len(shown):
        return None
    timed = timed and not scan.packed and all(packets[place].pts is not None for place in shown)
    line = _timeline(scan, shown, timed=timed, base=time_base, clock=clock)
    kept = _decodable(line, shown, scan, first_key) if timed else np.arange(len(shown) - scan.dropped)
    if not len(kept):
        return None
    order = kept[np.argsort(line.ticks[kept], kind="stable")]
    pts, places = line.ticks[order], shown[order]
    last = packets[places[-1]].duration
    absurd = last * time_base > MAX_GAP_SECONDS[clock.may_jump]
    jumps = shown[list(line.jumps)].tolist()
    step = typical_step(pts, max(round(1 / (rate * time_base)), 1) if rate else 1)
    # Were packets lost at a joint, time would be lost, too.
    joints = {
        *jumps,
        *(place for place in scan.joints if _is_in_time(packets[place - 1], packets[place], step)),
    }
    return PacketIndex(
        packets=packets,
        pts=pts,
        places=places,
        end=int(pts[-1]) + (step if absurd or not last else last),
        time_base=time_base,
        first_key=first_key,
        timed=timed,
        video_id=scan.video_id,
        errors=scan.errors
        + len(scan.corrupt - {place - back for place in joints for back in range(JOINT + 1)}),
        discontinuities=len(jumps) + absurd,
        gradual=scan.gradual,
        needs_all=not timed or scan.has_state or scan.keyless,
    )


def _timeline(scan: PacketScan, shown: Ints, *, timed: bool, base: Fraction, clock: ClockRules) -> Timeline:
    """The ticks of the shown packets; where they have no times, slots that decoded frames fill in order.

    Slots are the decoding times, from that of the packet with which the decoder gives the first frame on, as
    FFmpeg's command line dates frames; or else the durations summed. So they are for packed B pictures: there
    an empty packet holds the place of the second picture of another, and takes no time itself.
    """
    own = [scan.packets[place] for place in shown]
    durations = [packet.duration for packet in own]
    dated = all(packet.dts is not None for packet in own)
    dts = [packet.dts or 0 for packet in own]
    if timed:
        pts = [packet.pts or 0 for packet in own]
    elif dated and not scan.packed:
        step = typical_step(np.array(dts, dtype=np.int64))
        behind = (dts[-1] + step * number for number in range(1, scan.held + 1))
        pts = [*dts[scan.held :], *behind][: len(own)]
    else:
        pts = [0, *accumulate(max(duration, 1) for duration in durations[:-1])]
    is_key = [timed and packet.is_key for packet in own]
    marked = {place + ahead for place in scan.corrupt for ahead in range(JOINT + 1)}
    steps_back = [True, *(later < earlier for earlier, later in pairwise(dts))]
    is_lost = [place in marked for place in shown.tolist()] if clock.marks_losses else steps_back
    rules = replace(clock, stores_dts=clock.stores_dts and dated)
    return close_jumps(
        np.array(pts, dtype=np.int64),
        np.array(dts, dtype=np.int64),
        np.array(durations, dtype=np.int64),
        np.array(is_key, dtype=np.bool_),
        np.array(is_lost, dtype=np.bool_),
        base=base,
        rules=rules,
    )


def _decodable(line: Timeline, shown: Ints, scan: PacketScan, first_key: int) -> Ints:
    """Which of the shown packets are not shown before the key frame that their part of the file begins with,
    or come out of the decoder nevertheless."""
    kept = line.parts >= 0
    is_key = np.array([scan.packets[place].is_key for place in shown])
    leads = np.isin(shown, [*scan.leads])
    for part in range(int(line.parts.max()) + 1):
        first = np.flatnonzero(line.parts == part)[:1]
        if len(first) and is_key[first] and (part > 0 or shown[first] == first_key):
            kept &= leads | ~((line.parts == part) & (line.ticks < line.ticks[first]))
    return np.flatnonzero(kept)


def _is_in_time(before: Packet, packet: Packet, step: int) -> bool:
    """Whether a packet follows the one before it as fast as frames do, one every `step` ticks."""
    return before.dts is not None and packet.dts is not None and packet.dts - before.dts < 1.5 * step


def _declared_seconds(container: Any, stream: Any) -> float:
    """Length that a file declares for its video stream, 0 where it declares none.

    A Matroska file declares when a stream ends by its clock, which need not begin at 0: in a tag of the
    stream, or for all streams together. An Ogg file declares nothing: FFmpeg reads its last page.
    """
    if "ogg" in container.format.name:
        return 0.0
    if "matroska" not in container.format.name:
        return float(stream.duration * stream.time_base) if stream.duration else 0.0
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    start = float((container.start_time or 0) / av.time_base)
    if tag is not None:
        hours, minutes, seconds = map(float, tag.groups())
        end = 3600 * hours + 60 * minutes + seconds
    else:
        end = float((container.duration or 0) / av.time_base) if len(container.streams) == 1 else 0.0
    return end - start if end > start else end
