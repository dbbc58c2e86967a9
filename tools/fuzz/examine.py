"""One broken file: read as a build does, then compared with a plain decode from its first packet on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av.error
import numpy as np

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.decode.media import open_media, packets_until_error, pixel_aspect, video_stream
from strive_data.decode.packet_index import read_index
from strive_data.decode.store import FrameStore
from strive_data.errors import SampleError
from strive_data.schema import Candidates
from tools.fuzz.breaks import way_and_source

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
