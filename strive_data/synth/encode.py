"""Frames into an H.264 file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av

from strive_data.schema import Frames

OPTIONS = {
    "crf": "18",
    "preset": "veryfast",
    "g": "24",
    "sc_threshold": "0",
    # With its macroblock tree x264 gave other bits now and then, for equal frames in one thread.
    "x264-params": "mbtree=0",
}


def write_h264(
    path: Path, frames: Iterable[Frames], *, frames_per_second: int, height: int, width: int
) -> None:
    """Write uint8 RGB frames [height, width, 3] (even sides) as an mp4; equal input gives equal bytes."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=frames_per_second)
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        stream.options = OPTIONS
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
