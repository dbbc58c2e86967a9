"""Which library encodes and decodes JPEG fastest: simplejpeg, torchvision and Pillow on the same frames.

    python -m tools.bench.jpeg ../shared/data/videos

One thread, candidates of the real clips at the storage size, quality 90, full chroma as shards hold them
(torchvision halves the chroma and has no other setting). The libraries take turns, frame by frame, so
that other load on the machine weighs on all alike; CPU seconds are counted.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import simplejpeg
import torch
import typer
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.schema import Frames

QUALITY = 90
Codec = tuple[Callable[[Frames], bytes], Callable[[bytes], np.ndarray]]


def main(videos: Path, candidates: int = 16, most_videos: int = 11, rounds: int = 2) -> None:
    """Print frames encoded and decoded a CPU second for the videos of a folder."""
    torch.set_num_threads(1)
    settings = DecodeSettings(candidates=candidates)
    taken = sorted(videos.iterdir())[:most_videos]
    frames = [frame for video in taken for frame in read_candidates(video, settings).frames]
    print(f"{len(frames)} frames of {len(taken)} videos, quality {QUALITY}, one thread")
    print(f"{'library':<12} {'encode/CPU s':>13} {'decode/CPU s':>13} {'bytes a frame':>14}")
    for name, (encoded, decoded, size_bytes) in rates(frames, CODECS, rounds=rounds).items():
        print(f"{name:<12} {encoded:13.0f} {decoded:13.0f} {size_bytes:14.0f}")


def rates(
    frames: Sequence[Frames], codecs: Mapping[str, Codec], *, rounds: int
) -> dict[str, tuple[float, float, float]]:
    """By library: frames encoded and decoded a CPU second, and mean bytes of a JPEG."""
    seconds = {name: [0.0, 0.0] for name in codecs}
    sizes = dict.fromkeys(codecs, 0)
    for _ in range(rounds):
        for frame in frames:
            for name, (encode, decode) in codecs.items():
                started = time.process_time()
                jpeg = encode(frame)
                between = time.process_time()
                decode(jpeg)
                seconds[name][0] += between - started
                seconds[name][1] += time.process_time() - between
                sizes[name] += len(jpeg)
    count = rounds * len(frames)
    return {name: (count / put, count / got, sizes[name] / count) for name, (put, got) in seconds.items()}


def _simplejpeg_encode(frame: Frames) -> bytes:
    return simplejpeg.encode_jpeg(frame, quality=QUALITY, colorspace="RGB", colorsubsampling="444")


def _torchvision_encode(frame: Frames) -> bytes:
    pixels = torch.from_numpy(frame).permute(2, 0, 1).contiguous()
    return encode_jpeg(pixels, quality=QUALITY).numpy().tobytes()


def _torchvision_decode(jpeg: bytes) -> np.ndarray:
    content = torch.from_numpy(np.frombuffer(jpeg, dtype=np.uint8).copy())
    return decode_jpeg(content, mode=ImageReadMode.RGB).permute(1, 2, 0).contiguous().numpy()


def _pillow_encode(frame: Frames) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def _pillow_decode(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


CODECS: dict[str, Codec] = {
    "simplejpeg": (_simplejpeg_encode, simplejpeg.decode_jpeg),
    "torchvision": (_torchvision_encode, _torchvision_decode),
    "Pillow": (_pillow_encode, _pillow_decode),
}


if __name__ == "__main__":
    typer.run(main)
