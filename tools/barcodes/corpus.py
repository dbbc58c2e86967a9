"""The clips: codecs, groups of pictures, containers, times and shapes that have fooled readers of video."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

from tools.barcodes.clip import Clip
from tools.barcodes.edits import start_at_frame, without_avi_index


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
