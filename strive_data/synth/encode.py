"""Frames into an H.264 file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

from strive_data.schema import Frames

KEY_FRAME_EVERY = 24
# BT.601, limited range: weights of R, G, B in Y, Cb, Cr.
YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
OFFSETS = np.array([16.0, 128.0, 128.0])


def write_h264(
    path: Path, frames: Iterable[Frames], *, frames_per_second: int, height: int, width: int
) -> None:
    """Write uint8 RGB frames [height, width, 3] (even sides) as an mp4; equal input gives equal bytes."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=frames_per_second)
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.options = {"crf": "18", "preset": "veryfast", "g": str(KEY_FRAME_EVERY), "sc_threshold": "0"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(to_yuv420(frame), format="yuv420p")))
        container.mux(stream.encode(None))


def to_yuv420(frame: Frames) -> Frames:
    """RGB [H, W, 3] with even sides → planes Y, Cb, Cr, uint8 [H·3/2, W] as PyAV takes them.

    Done here because swscale's own conversion was seen to give other bits from call to call.
    """
    height, width = frame.shape[:2]
    planes = np.round(frame.astype(np.float64) @ YCBCR.T + OFFSETS)
    chroma = planes[:, :, 1:].reshape(height // 2, 2, width // 2, 2, 2).mean(axis=(1, 3)).round()
    flat = np.concatenate([planes[:, :, 0].ravel(), chroma[:, :, 0].ravel(), chroma[:, :, 1].ravel()])
    return flat.reshape(height * 3 // 2, width).astype(np.uint8)
