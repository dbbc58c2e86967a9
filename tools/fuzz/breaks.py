"""Ways to break a file, each a function of its bytes, another file's bytes and a random generator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

Break = Callable[[bytes, bytes, Random], bytes]

INDEX_NAMES = (b"moov", b"\x1c\x53\xbb\x6b", b"idx1")
"""Where the tables of frames begin: MP4's moov box, Matroska's Cues, AVI's idx1."""


def cut(data: bytes, other: bytes, random: Random) -> bytes:
    """The beginning."""
    return data[: random.randrange(1, len(data))]


def behead(data: bytes, other: bytes, random: Random) -> bytes:
    """The end."""
    return data[random.randrange(1, len(data)) :]


def flip_header(data: bytes, other: bytes, random: Random) -> bytes:
    """Bits turned in the first 512 bytes."""
    return _flip(data, range(min(512, len(data))), random)


def flip_body(data: bytes, other: bytes, random: Random) -> bytes:
    """Bits turned anywhere."""
    return _flip(data, range(len(data)), random)


def flip_index(data: bytes, other: bytes, random: Random) -> bytes:
    """Bits turned in the table of frames, or at the end where none is known."""
    starts = [place for name in INDEX_NAMES if (place := data.rfind(name)) >= 0]
    start = max(starts, default=len(data) * 9 // 10)
    return _flip(data, range(start, len(data)), random)


def zero(data: bytes, other: bytes, random: Random) -> bytes:
    """A stretch of zeros."""
    start = random.randrange(len(data))
    size = min(random.choice([64, 4096, 65536]), len(data) - start)
    return data[:start] + bytes(size) + data[start + size :]


def splice(data: bytes, other: bytes, random: Random) -> bytes:
    """The beginning of one file, then the end of another."""
    return data[: random.randrange(1, len(data))] + other[random.randrange(len(other)) :]


def swap(data: bytes, other: bytes, random: Random) -> bytes:
    """Two stretches in each other's place."""
    size = min(random.choice([512, 8192]), len(data) // 4)
    first = random.randrange(len(data) // 2 - size)
    second = random.randrange(len(data) // 2, len(data) - size)
    parts = data[:first], data[second : second + size], data[first + size : second]
    return b"".join(parts) + data[first : first + size] + data[second + size :]


def empty(data: bytes, other: bytes, random: Random) -> bytes:
    """Nothing."""
    return b""


def text(data: bytes, other: bytes, random: Random) -> bytes:
    """Words or JSON."""
    lines = [{"question": f"What happens {random.random()}?"} for _ in range(random.randrange(1, 500))]
    return "\n".join(json.dumps(line) for line in lines).encode()


def noise(data: bytes, other: bytes, random: Random) -> bytes:
    """Random bytes."""
    return random.randbytes(random.randrange(1, 1 << 16))


def wrong_name(data: bytes, other: bytes, random: Random) -> bytes:
    """The file as it is, under another container's name."""
    return data


WAYS: list[Break] = [
    *(cut, behead, flip_header, flip_body, flip_index, zero, splice, swap, empty, text, noise, wrong_name)
]
BREAKS = {way.__name__: way for way in WAYS}
SUFFIXES = (".mp4", ".mkv", ".avi", ".ts", ".webm", ".txt", ".jpg", "")

# The ways in which a file stays a video, most: what is no video at all is soon said.
_WEIGHTS = {"flip_body": 6, "flip_index": 4, "flip_header": 3, "cut": 3, "zero": 3, "splice": 3, "swap": 3}


def break_file(number: int, sources: list[Path], folder: Path, seed: int) -> Path:
    """Write broken file `number` of a seed, named by how it was made; equal arguments give equal bytes."""
    random = Random(f"{seed} {number}")
    weights = [_WEIGHTS.get(way, 1) for way in BREAKS]
    (way,) = random.choices(list(BREAKS), weights)
    source, other = random.choice(sources), random.choice(sources)
    suffix = random.choice(SUFFIXES) if way == "wrong_name" else ""
    path = folder / f"{number:05d}-{way}-{source.name}{suffix}"
    path.write_bytes(BREAKS[way](source.read_bytes(), other.read_bytes(), random))
    return path


def way_and_source(path: Path) -> tuple[str, str]:
    """How a broken file was broken, and the name of the file that it was made of."""
    _, way, source = path.name.split("-", 2)
    return way, source


def _flip(data: bytes, places: range, random: Random) -> bytes:
    flipped = bytearray(data)
    for _ in range(random.choice([1, 2, 8, 64])):
        flipped[random.choice(places)] ^= 1 << random.randrange(8)
    return bytes(flipped)
