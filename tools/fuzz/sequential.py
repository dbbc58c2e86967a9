"""The plain way to read a video, as the oracle: decode it from the first packet to the last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av.error
import numpy as np

from strive_data.config import DecodeSettings
from strive_data.decode.media import open_media, packets_until_error, pixel_aspect
from strive_data.decode.packet_index import read_index
from strive_data.decode.store import FrameStore
from strive_data.schema import Candidates


def differing_frames(path: Path, settings: DecodeSettings, got: Candidates) -> list[float]:
    """Times in seconds of the candidates that are not what a decode from the start shows at that time.

    Where damage makes the decode from the start lose a frame, it says nothing of that time.
    """
    with open_media(path, settings) as container:
        index = read_index(path, container, container.streams.best("video"))
    first, seconds = int(index.pts[0]), float(index.time_base)
    slots = {first + round(time / seconds): slot for slot, time in enumerate(got.times.tolist())}
    numbers = iter(index.pts.tolist())
    store = FrameStore(len(slots), settings)
    with open_media(path, settings) as container:
        stream = container.streams.best("video")
        aspect = pixel_aspect(stream)
        for frame in _all_frames(container, stream, index.first_key):
            slot = slots.get(frame.pts if index.timed else next(numbers, None))
            if slot is not None and not store.filled[slot]:
                store.put(slot, frame, aspect)
    return [float(got.times[slot]) for slot in range(len(slots)) if not _same(store, slot, got)]


def _same(store: FrameStore, slot: int, got: Candidates) -> bool:
    if not store.filled[slot]:
        return True
    place = int(store.filled[:slot].sum())
    return np.array_equal(store.survivors()[place], got.frames[slot])


def _all_frames(container: Any, stream: Any, first_key: int) -> Iterator[Any]:
    packets = (
        packet for place, packet in enumerate(packets_until_error(container, stream)) if place >= first_key
    )
    for packet in [*packets, None]:
        try:
            yield from stream.codec_context.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            continue
