"""Copies of a real clip as they turn up in other data sets: re-encoded, cropped, cut."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

Share = tuple[float, float]


def write_copy(
    source: Path,
    target: Path,
    *,
    scale: float = 1.0,
    rows: Share = (0.0, 1.0),
    columns: Share = (0.0, 1.0),
    time: Share = (0.0, 1.0),
    crf: int = 28,
) -> Path:
    """Encode these shares of each frame and of the clip again, at `scale` times the size."""
    with av.open(str(source)) as media:
        stream = media.streams.video[0]
        rate = stream.average_rate
        frames = [frame.to_ndarray(format="rgb24") for frame in media.decode(stream)]
    frames = [_cut(frame, rows, columns) for frame in frames[slice(*_range(len(frames), time))]]
    height, width = (round(side * scale) // 2 * 2 for side in frames[0].shape[:2])
    with av.open(str(target), "w") as out:
        video = out.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            out.mux(video.encode(picture.reformat(width=width, height=height)))
        out.mux(video.encode())
    return target


def _cut(frame: np.ndarray, rows: Share, columns: Share) -> np.ndarray:
    return frame[slice(*_range(frame.shape[0], rows)), slice(*_range(frame.shape[1], columns))]


def _range(count: int, share: Share) -> tuple[int, int]:
    return round(count * share[0]), round(count * share[1])
