"""One bar-coded clip: how it is made, drawn, encoded and read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

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
