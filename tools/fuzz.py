"""Break video files by seed and read them as a build does: no crash, hang or wrong frame without an error.

    python -m tools.fuzz --videos ../shared/data/videos --files 1000

Sources are the videos of `--videos`, where given, and the bar-coded corpus (tools/barcodes). Prints what is
wrong as it is met, then a table with a row for each way of breaking, and ends with 1 if anything is wrong.
"Changed unnoticed": the broken bits are valid too, so that no decoder can find the damage; the frames equal
what any player shows. A way to break a file is a function of its bytes, another file's bytes and a random
generator; what was read of it is compared with a plain decode from its first packet on.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import av.error
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.decode.media import open_media, packets_until_error, pixel_aspect, video_stream
from strive_data.decode.packet_index import read_index
from strive_data.decode.store import FrameStore
from strive_data.engines.decode_pool import decode_videos
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates
from tools.barcodes import CORPUS, LONG, encode

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


SAME_TIMELINE = ("flip_body", "flip_index", "zero")
"""Ways of breaking after which a frame's time still means the same frame."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The result for a file that could be decoded.

    `changed` are the times of candidates that differ from those of the intact file; `wrong` those that also
    differ from a plain decode of the same bytes, so that no player shows them. Neither is reported to the
    user where `decode_errors` is 0.
    """

    reader: str
    frames: int
    decode_errors: int
    wrong: tuple[float, ...]
    changed: tuple[float, ...]

    @property
    def silently_wrong(self) -> bool:
        """Whether a frame is wrong and no error is counted."""
        return bool(self.wrong) and self.decode_errors == 0


@dataclass(frozen=True, kw_only=True)
class Examine:
    """Picklable, so that it runs in decoding workers; `sources` are the files before they were broken."""

    sources: tuple[Path, ...] = ()

    def __call__(self, path: Path | str, settings: DecodeSettings) -> Findings:
        """Raises SampleError as `read_candidates` does."""
        path = Path(path)
        got = read_candidates(path, settings)
        intact = _intact(got, self._source(path), settings)
        wrong = set(differing_frames(path, settings, got)) - (intact or set())
        changed = set() if intact is None else set(got.times.tolist()) - intact
        return Findings(
            reader=got.info.reader,
            frames=len(got.frames),
            decode_errors=got.info.decode_errors,
            wrong=tuple(sorted(wrong)),
            changed=tuple(sorted(changed)),
        )

    def _source(self, path: Path) -> Path | None:
        way, name = way_and_source(path)
        return next((s for s in self.sources if s.name == name), None) if way in SAME_TIMELINE else None


def _intact(got: Candidates, source: Path | None, settings: DecodeSettings) -> set[float] | None:
    """Times of the frames that are those of the file before it was broken; None where no times compare."""
    if source is None:
        return None
    try:
        before = read_candidates(source, settings)
    except SampleError:
        return None
    if not np.array_equal(before.times, got.times) or before.frames.shape != got.frames.shape:
        return None
    same = (before.frames == got.frames).all(axis=(1, 2, 3))
    return set(got.times[same].tolist())


def differing_frames(path: Path, settings: DecodeSettings, got: Candidates) -> list[float]:
    """Times in seconds of the candidates that are not what a decode from the start shows at that time.

    Times whose frame the decode from the start loses are left out.
    """
    index = read_index(path, settings)
    slots = {round(time / float(index.time_base)): slot for slot, time in enumerate(got.times.tolist())}
    ticks = (index.pts - index.pts[0]).tolist()
    tick_of = dict(zip(index.places.tolist() if index.timed else range(len(ticks)), ticks, strict=True))
    with open_media(path, settings) as container:
        stream = video_stream(container)
        store = FrameStore(len(slots), settings, pixel_aspect=pixel_aspect(stream))
        for number, (frame, packet) in enumerate(_all_frames(container, stream, index.first_key)):
            store.orient(frame, packet)
            slot = slots.get(tick_of.get(frame.pts if index.timed else number, -1))
            if slot is not None:
                store.put(slot, frame)
    store.flush()
    return [float(got.times[slot]) for slot in range(len(slots)) if not _same(store, slot, got)]


def _same(store: FrameStore, slot: int, got: Candidates) -> bool:
    if not store.filled[slot]:
        return True
    place = int(store.filled[:slot].sum())
    return np.array_equal(store.survivors()[place], got.frames[slot])


def _all_frames(container: Any, stream: Any, first_key: int) -> Iterator[tuple[Any, Any]]:
    """Frames of a decode from the start, with the place of their packet as their time stamp, and the packet
    that was decoded last."""
    packets = (
        (place, packet)
        for place, packet in enumerate(packets_until_error(container, stream))
        if place >= first_key
    )
    for place, packet in [*packets, (0, None)]:
        try:
            if packet is not None:
                packet.pts = place
            for frame in stream.codec_context.decode(packet):
                yield frame, packet
        except MemoryError:
            raise
        except av.error.FFmpegError:
            continue


SETTINGS = DecodeSettings(
    candidates=12, max_pixels=96 * 96, multiple=8, timeout_seconds=60, memory_bytes=1 << 30
)
FATAL = (FailureKind.TIMEOUT, FailureKind.CRASH)
Outcome = Findings | SampleError


def fuzz(
    sources: list[Path], folder: Path, *, numbers: Iterable[int], seed: int, workers: int = 1
) -> Iterator[tuple[Path, Outcome]]:
    """Break and examine files one after the other; those that show nothing wrong are deleted again."""
    broken = (break_file(number, sources, folder, seed) for number in numbers)
    examine = Examine(sources=tuple(sources))
    for path, outcome in decode_videos(((path, path) for path in broken), SETTINGS, workers, read=examine):
        yield path, outcome
        if not is_wrong(outcome):
            path.unlink()


def is_wrong(outcome: Outcome) -> bool:
    """Whether the reader failed: a wrong frame without an error, or a process that hung or crashed."""
    if isinstance(outcome, SampleError):
        return outcome.kind in FATAL
    return outcome.silently_wrong


def label(outcome: Outcome) -> str:
    """The outcome of a file as a column of the table."""
    if isinstance(outcome, SampleError):
        return outcome.kind.value
    if outcome.silently_wrong:
        return "WRONG"
    if outcome.decode_errors:
        return "decoded, errors counted"
    return "decoded, changed unnoticed" if outcome.changed else "decoded"


def main(
    videos: Path | None = None, files: int = 100, seed: int = 0, workers: int = 1, out: Path | None = None
) -> None:
    """Break so many files, made of those of a folder too; files that show a fault stay in OUT.

    The exit code is 1 if anything is wrong.
    """
    folder = out or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    sources = [*(sorted(videos.iterdir()) if videos else []), *corpus(folder)]
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    wrong = 0
    for path, outcome in fuzz(sources, folder, numbers=range(files), seed=seed, workers=workers):
        rows[way_and_source(path)[0]][label(outcome)] += 1
        if is_wrong(outcome):
            wrong += 1
            print(f"{path}: {outcome}", flush=True)
    print_table(rows)
    print(f"{files} files, {wrong} to look at" + (f" in {folder}" if wrong else ""))
    raise typer.Exit(int(wrong > 0))


def corpus(folder: Path) -> list[Path]:
    """The bar-coded clips, rendered below `folder`; the long one would only take time."""
    rendered = folder / "corpus"
    rendered.mkdir(exist_ok=True)
    return [encode(clip, rendered) for clip in CORPUS if clip is not LONG]


def print_table(rows: dict[str, Counter[str]]) -> None:
    """One row a way of breaking, one column an outcome."""
    labels = sorted({name for row in rows.values() for name in row})
    table = Table("broken by", *labels, box=None)
    for way, row in sorted(rows.items()):
        table.add_row(way, *(str(row[name] or "") for name in labels))
    table.add_row("all", *(str(sum(row[name] for row in rows.values())) for name in labels))
    Console(width=250).print(table)


if __name__ == "__main__":
    typer.run(main)
