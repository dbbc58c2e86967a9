"""The plain way to read a video, as the oracle: decode it from the first packet to the last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av.error
import numpy as np

from strive_data.config import DecodeSettings
from strive_data.decode.media import open_media, packets_until_error, pixel_aspect, video_stream
from strive_data.decode.packet_index import read_index
from strive_data.decode.store import FrameStore
from strive_data.schema import Candidates


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
