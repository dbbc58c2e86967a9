"""Candidates made of given frames, and what open_clip itself scores them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

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


def cosines_by_open_clip(folder: Path, query: str, frames: Frames) -> list[float]:
    """Oracle: open_clip used plainly, one image and one text at a time."""
    name = f"local-dir:{folder}"
    model, _, transform = open_clip.create_model_and_transforms(name)
    model.eval()
    with torch.no_grad():
        text = model.encode_text(open_clip.get_tokenizer(name)([query]), normalize=True)[0]
        images = [transform(Image.fromarray(frame))[None] for frame in frames]
        return [float(model.encode_image(image, normalize=True)[0] @ text) for image in images]
