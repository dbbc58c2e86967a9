"""Videos that know their frames: each frame carries its number as a bar code in its pixels.

`CORPUS` has the codecs, groups of pictures, containers, times and shapes that have fooled readers of video.
How a clip is drawn, encoded and read comes before, and changes to finished files for what no muxer writes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

EDIT_TICKS = 512
"""Ticks of a frame in the MP4 files of the corpus (time base 1/12800, 25 frames a second)."""

UNIT = 1 << 16
"""One, in the display matrix of an MP4 file."""


def start_at_frame(data: bytes, frame: int) -> bytes:
    """An MP4 file whose edit list begins `frame` frames later: those before are decoded and not shown."""
    edited = bytearray(data)
    at = data.index(b"elst") + 4 + 4 + 4 + 4  # version and flags, count, segment duration; then media_time
    (start,) = struct.unpack_from(">i", data, at)
    struct.pack_into(">i", edited, at, start + frame * EDIT_TICKS)
    return bytes(edited)


def without_avi_index(data: bytes) -> bytes:
    """An AVI file whose table of frames is gone, as after a recording that was broken off."""
    return data[: data.rindex(b"idx1")]


def all_marked_as_keys(data: bytes) -> bytes:
    """An AVI file whose table of frames calls every frame a key frame."""
    edited = bytearray(data)
    at = data.rindex(b"idx1")
    for entry in range(at + 8, at + 8 + int.from_bytes(data[at + 4 : at + 8], "little"), 16):
        edited[entry + 4] |= 0x10
    return bytes(edited)


def with_matrix(data: bytes, a: float, b: float, c: float, d: float) -> bytes:
    """An MP4 file with another display matrix: the pixel (x, y) goes to (a·x + c·y, b·x + d·y)."""
    edited = bytearray(data)
    at = data.index(b"tkhd") + 4 + 4 + 5 * 4 + 8 + 4 * 2  # version, times and id, reserved, four small fields
    numbers = [round(number * UNIT) for number in (a, b, 0, c, d, 0, 0, 0)]
    struct.pack_into(">9i", edited, at, *numbers, 1 << 30)
    return bytes(edited)


def remux(source: Path, target: Path, edit: Callable[[int, Any], None]) -> Path:
    """Copy the video packets of a file into another container; `edit` changes each, given its place."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for place, packet in enumerate(reader.demux(video=0)):
            if packet.size:
                packet.stream = stream
                edit(place, packet)
                writer.mux(packet)
    return target


def rewrite(source: Path, target: Path, edit: Callable[[int, bytes], bytes]) -> Path:
    """As `remux`, but `edit` gives other bytes for those of each packet."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for place, old in enumerate(reader.demux(video=0)):
            if old.size:
                packet = av.Packet(edit(place, bytes(old)))
                packet.pts, packet.dts, packet.time_base = old.pts, old.dts, old.time_base
                packet.duration, packet.is_keyframe, packet.stream = old.duration, old.is_keyframe, stream
                writer.mux(packet)
    return target


BITS = 13
RATE = 25
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """How a video is made; `times` are the presentation times of its frames in ticks of 1/`rate` s.

    `rotation` is the display matrix's, counter-clockwise in degrees; `pixel_aspect` the width of a pixel over
    its height; `edit` changes the bytes of the finished file, after which `first_shown` is the first frame
    that is shown.
    """

    name: str
    codec: str = "libx264"
    count: int = 90
    width: int = 160
    height: int = 96
    rate: int = RATE
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    muxing: dict[str, str] = field(default_factory=dict)
    max_b_frames: int | None = None
    times: Sequence[int] | None = None
    rotation: int = 0
    pixel_aspect: Fraction = Fraction(1)
    edit: Callable[[bytes], bytes] | None = None
    first_shown: int = 0

    @property
    def times_seconds(self) -> npt.NDArray[np.float64]:
        """Times of its frames from the first shown one, float64 [F]; negative before it."""
        ticks = np.array(self.times or range(self.count), dtype=np.float64)
        return (ticks - ticks[self.first_shown]) / self.rate

    @property
    def shown_size(self) -> tuple[int, int]:
        """(width, height) of a frame as shown."""
        wide, narrow = max(self.pixel_aspect, Fraction(1)), min(self.pixel_aspect, Fraction(1))
        width, height = round(self.width * wide), round(self.height / narrow)
        return (height, width) if self.rotation % 180 else (width, height)


def draw(number: int, width: int, height: int) -> Pixels:
    """Bars of the number's bits, the least first, over a lower half that moves."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    bars = np.array(bits)[np.arange(width) * BITS // width] * 175 + 40
    frame = np.repeat(np.tile(bars, (height, 1))[..., None], 3, axis=2)
    frame[height // 2 :, :, 1] = (np.arange(width) * 3 + number * 7) % 150 + 50
    return frame.astype(np.uint8)


def numbers_of(frames: Pixels, rotation: int = 0) -> list[int]:
    """The numbers that frames [N, H, W, 3], shown turned by `rotation`, carry in their upper halves."""
    frames = np.rot90(frames, -rotation // 90, axes=(1, 2))
    _, height, width, _ = frames.shape
    upper = frames[:, height // 8 : height * 3 // 8].mean(axis=(1, 3))
    centres = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    return [int(number) for number in (upper[:, centres] > 127) @ (1 << np.arange(BITS))]


def encode(clip: Clip, folder: Path, *, first_number: int = 0) -> Path:
    """Write the clip's file, its frames numbered from `first_number` on."""
    path = folder / clip.name
    with av.open(str(path), "w", options=clip.muxing) as container:
        stream = container.add_stream(clip.codec, rate=clip.rate, options=clip.options)
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, clip.pix_fmt
        codec = stream.codec_context
        codec.time_base, codec.gop_size = Fraction(1, clip.rate), 12
        codec.sample_aspect_ratio = clip.pixel_aspect
        if clip.rotation:
            stream.set_display_rotation(clip.rotation)
        if clip.max_b_frames is not None:
            codec.max_b_frames = clip.max_b_frames
        for number, tick in enumerate(clip.times or range(clip.count)):
            frame = av.VideoFrame.from_ndarray(
                draw(first_number + number, clip.width, clip.height), format="rgb24"
            )
            frame.pts, frame.time_base = tick, Fraction(1, clip.rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if clip.edit is not None:
        path.write_bytes(clip.edit(path.read_bytes()))
    return path


def x264(**options: object) -> dict[str, str]:
    """Options of libx264 by name, `_` for `-`."""
    # With its macroblock tree x264 gives other bits now and then for equal frames.
    text = ":".join(f"{name.replace('_', '-')}={value}" for name, value in ({"mbtree": 0} | options).items())
    return {"x264-params": text, "preset": "veryfast"}


def x265(**options: object) -> dict[str, str]:
    """Options of libx265 by name, `_` for `-`."""
    text = ":".join(f"{name.replace('_', '-')}={value}" for name, value in options.items())
    return {"x265-params": f"{text}:log-level=none:pools=none:frame-threads=1", "preset": "ultrafast"}


_CLOSED = x264(keyint=12, bframes=3, scenecut=0)
_OPEN = x264(keyint=12, bframes=3, open_gop=1, scenecut=0)
_LIVE_VP9 = {"deadline": "realtime", "cpu-used": "8"}

CLOSED = Clip(name="closed.mp4", options=_CLOSED)
INTRA = Clip(name="intra.mp4", options=x264(keyint=1))
OPEN_TS = Clip(name="open.ts", options=_OPEN)
TRIMMED = Clip(name="trimmed.mp4", options=_CLOSED, edit=partial(start_at_frame, frame=17), first_shown=17)
VFR = Clip(name="vfr.mp4", options=_CLOSED, times=[2 * i + (i // 10) * 7 + (i % 3 == 2) for i in range(90)])
VP9 = Clip(name="vp9.webm", codec="libvpx-vp9", options=_LIVE_VP9)
SINGLE = Clip(name="single.mp4", count=1, options=x264(keyint=12))
LONG = Clip(
    name="long.mp4", count=7200, rate=1, width=104, height=32, options=x264(keyint=600, bframes=2, scenecut=0)
)

GROUPS = [
    CLOSED,
    Clip(name="open.mp4", options=_OPEN),
    Clip(name="pyramid.mp4", options=x264(keyint=30, bframes=7, b_pyramid="normal", b_adapt=0, ref=5)),
    Clip(name="refresh.mp4", options=x264(keyint=24, intra_refresh=1, bframes=0)),
    INTRA,
    Clip(name="hevc.mp4", codec="libx265", options=x265(keyint=12, bframes=3, open_gop=0)),
    Clip(name="hevc_open.mp4", codec="libx265", options=x265(keyint=12, bframes=4, open_gop=1, b_pyramid=1)),
    VP9,
    Clip(name="vp9_alt.webm", codec="libvpx-vp9", options={"cpu-used": "8", "lag-in-frames": "16"}),
    Clip(name="vp8.webm", codec="libvpx", options={"lag-in-frames": "25", "b": "60k", "cpu-used": "8"}),
    Clip(name="av1.mp4", codec="libsvtav1", options={"preset": "12", "svtav1-params": "keyint=24:lp=1"}),
]
CONTAINERS = [
    Clip(name="open.mkv", options=_OPEN),
    OPEN_TS,
    Clip(name="hevc_open.ts", codec="libx265", options=x265(keyint=12, bframes=4, open_gop=1)),
    Clip(name="av1.mkv", codec="libsvtav1", options={"preset": "12", "svtav1-params": "keyint=24:lp=1"}),
    Clip(name="asp.avi", codec="mpeg4", max_b_frames=2),
    Clip(name="plain.avi", codec="mpeg4", max_b_frames=0),
    Clip(name="h264.avi", options=_CLOSED),
    Clip(name="mpeg2.mpg", codec="mpeg2video", max_b_frames=2),
    Clip(name="fields.ts", options=x264(keyint=12, bframes=3, tff=1, scenecut=0)),
    Clip(name="raw.h264", options=_CLOSED),
    Clip(name="moving.gif", codec="gif", pix_fmt="rgb8"),
    Clip(name="fragments.mp4", options=_OPEN, muxing={"movflags": "frag_keyframe+empty_moov"}),
    Clip(name="no_cues.mkv", options=_OPEN, muxing={"live": "1"}),
    Clip(name="no_index.avi", codec="mpeg4", max_b_frames=0, edit=without_avi_index),
]
TIMES = [
    VFR,
    Clip(name="vfr.mkv", options=_OPEN, times=VFR.times),
    Clip(name="late.mp4", options=_CLOSED, times=range(50, 140)),
    Clip(name="late.ts", options=_CLOSED, times=range(50, 140)),
    SINGLE,
    LONG,
]
SHAPES = [
    Clip(name="odd.mp4", width=171, height=97, pix_fmt="yuv444p", options=x264(keyint=12)),
    Clip(name="ten_bits.mp4", pix_fmt="yuv420p10le", options=x264(keyint=12)),
    Clip(name="ten_bits.mkv", codec="libx265", pix_fmt="yuv420p10le", options=x265(keyint=12, bframes=3)),
    Clip(name="wide_pixels.mp4", options=_CLOSED, pixel_aspect=Fraction(16, 11)),
    Clip(name="narrow_pixels.mkv", options=_OPEN, pixel_aspect=Fraction(8, 9)),
    Clip(name="turned90.mp4", options=_CLOSED, rotation=90),
    Clip(name="turned180.mp4", options=_CLOSED, rotation=180),
    Clip(name="turned270.mp4", options=_CLOSED, rotation=270, pixel_aspect=Fraction(4, 3)),
]
CORPUS = [*GROUPS, *CONTAINERS, *TIMES, *SHAPES]
