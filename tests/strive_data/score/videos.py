"""Candidates made of given frames."""

from __future__ import annotations

import numpy as np

from strive_data.schema import Candidates, Frames, VideoInfo


def video_of(frames: Frames, video_id: str = "v") -> Candidates:
    """A video of these frames, one a second from second ½."""
    info = VideoInfo(
        video_id=video_id,
        duration_seconds=float(len(frames)),
        width=frames.shape[2] if frames.ndim == 4 else 0,
        height=frames.shape[1] if frames.ndim == 4 else 0,
        reader="made",
        reader_version="1",
    )
    return Candidates(info=info, frames=frames, times=np.arange(len(frames)) + 0.5)
