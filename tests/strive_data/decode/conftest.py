"""A corpus made here: every frame carries its number as a bar code in its pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

BITS = 10
RATE = 25
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """How a test video is made; `times` are the presentation times of its frames in ticks of 1/RATE s."""

    name: str
    codec: str = "libx264"
    count: int = 90
    width: int = 160
    height: int = 96
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    muxing: dict[str, str] = field(default_factory=dict)
    max_b_frames: int | None = None
    times: Sequence[int] | None = None

    @property
    def times_seconds(self) -> npt.NDArray[np.float64]:
        return np.array(self.times or range(self.count), dtype=np.float64) / RATE


def draw(number: int, width: int, height: int) -> Pixels:
    """Bars of the number's bits, the least first, over a lower half that moves."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    bars = np.array(bits)[np.arange(width) * BITS // width] * 175 + 40
    frame = np.repeat(np.tile(bars, (height, 1))[..., None], 3, axis=2)
    frame[height // 2 :, :, 1] = (np.arange(width) * 3 + number * 7) % 150 + 50
    return frame.astype(np.uint8)


def numbers_of(frames: Pixels) -> list[int]:
    """The numbers that frames [N, H, W, 3] carry in their upper halves."""
    _, height, width, _ = frames.shape
    upper = frames[:, height // 8 : height * 3 // 8].mean(axis=(1, 3))
    centres = ((np.arange(BITS) + 0.5) * width / BITS).astype(int)
    return [int(number) for number in (upper[:, centres] > 127) @ (1 << np.arange(BITS))]


def encode(clip: Clip, folder: Path) -> Path:
    path = folder / clip.name
    with av.open(str(path), "w", options=clip.muxing) as container:
        stream = container.add_stream(clip.codec, rate=RATE, options=clip.options)
        stream.width, stream.height, stream.pix_fmt = clip.width, clip.height, clip.pix_fmt
        stream.codec_context.time_base = Fraction(1, RATE)
        stream.codec_context.gop_size = 12
        if clip.max_b_frames is not None:
            stream.codec_context.max_b_frames = clip.max_b_frames
        for number, tick in enumerate(clip.times or range(clip.count)):
            frame = av.VideoFrame.from_ndarray(draw(number, clip.width, clip.height), format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def make_clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Clip], Path]:
    """Encode a clip once a session."""
    folder = tmp_path_factory.mktemp("corpus")
    made: dict[str, Path] = {}

    def make(clip: Clip) -> Path:
        if clip.name not in made:
            made[clip.name] = encode(clip, folder)
        return made[clip.name]

    return make


def x264(**options: object) -> dict[str, str]:
    text = ":".join(f"{name.replace('_', '-')}={value}" for name, value in options.items())
    return {"x264-params": text, "preset": "veryfast"}


CLOSED = Clip(name="closed.mp4", options=x264(keyint=12, bframes=3, scenecut=0))
CORPUS = [
    CLOSED,
    Clip(name="open.mp4", options=x264(keyint=12, bframes=3, open_gop=1, scenecut=0)),
    Clip(name="open.mkv", options=x264(keyint=12, bframes=3, open_gop=1, scenecut=0)),
    Clip(name="open.ts", options=x264(keyint=12, bframes=3, open_gop=1, scenecut=0)),
    Clip(name="refresh.mp4", options=x264(keyint=24, intra_refresh=1, bframes=0)),
    Clip(name="intra.mp4", options=x264(keyint=1)),
    Clip(name="hevc.mp4", codec="libx265", options={"x265-params": "keyint=12:bframes=3:log-level=none"}),
    Clip(
        name="vfr.mp4",
        options=x264(keyint=12, bframes=3, scenecut=0),
        times=[2 * i + (i // 10) * 7 + (i % 3 == 2) for i in range(90)],
    ),
    Clip(name="asp.avi", codec="mpeg4", max_b_frames=2),
    Clip(name="plain.avi", codec="mpeg4", max_b_frames=0),
    Clip(name="h264.avi", options=x264(keyint=12, bframes=3, scenecut=0)),
    Clip(name="mpeg2.mpg", codec="mpeg2video", max_b_frames=2),
    Clip(name="vp9.webm", codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}),
    Clip(name="odd.mp4", width=171, height=97, pix_fmt="yuv444p", options=x264(keyint=12)),
    Clip(name="single.mp4", count=1, options=x264(keyint=12)),
    Clip(
        name="fragments.mp4",
        options=x264(keyint=12, bframes=3, open_gop=1, scenecut=0),
        muxing={"movflags": "frag_keyframe+empty_moov"},
    ),
    Clip(name="fields.ts", options=x264(keyint=12, bframes=3, tff=1, scenecut=0)),
    Clip(name="raw.h264", options=x264(keyint=12, bframes=3, scenecut=0)),
    Clip(name="vp8.webm", codec="libvpx", options={"lag-in-frames": "25", "b": "60k"}),
    Clip(name="moving.gif", codec="gif", pix_fmt="rgb8"),
]
