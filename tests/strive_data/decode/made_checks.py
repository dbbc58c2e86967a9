"""A clip read by the planned reader, and checked against the frames that it must give."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import av
import numpy as np

from strive_data.config import DecodeSettings
from strive_data.decode.pyav_reader import read_video
from strive_data.schema import Candidates
from tools.barcodes import Clip, numbers_of

MakeClip = Callable[[Clip], Path]


def read(path: Path, count: int = 64) -> Candidates:
    return read_video(path, DecodeSettings(candidates=count, multiple=1, max_pixels=1 << 20))


def midpoint_numbers(count: int, seconds: float, rate: float = 25.0) -> list[int]:
    return sorted({int((cell + 0.5) * seconds / count * rate + 1e-6) for cell in range(count)})


def check(got: Candidates, count: int, seconds: float, *, discontinuities: int = 0) -> None:
    """The frames shown at the midpoints of `count` cells, frame n at n/25 s, and nothing damaged."""
    expected = midpoint_numbers(count, seconds)
    assert numbers_of(got.frames) == expected
    np.testing.assert_allclose(got.times, np.array(expected) / 25, atol=2e-3)
    assert (got.info.decode_errors, got.info.discontinuities) == (0, discontinuities)


def positions(path: Path) -> list[tuple[int, int]]:
    """Where each packet is in the file, and its size in bytes."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


def damaged(
    source: Path, target: Path, places: Iterable[int], *, byte: int = 0xFF, half: bool = False
) -> Path:
    """A copy in which these packets, or the second half of each, are nothing but this byte."""
    data, packets = bytearray(source.read_bytes()), positions(source)
    for position, size in (packets[place] for place in places):
        start = size // 2 if half else 0
        data[position + start : position + size] = bytes([byte]) * (size - start)
    target.write_bytes(data)
    return target
