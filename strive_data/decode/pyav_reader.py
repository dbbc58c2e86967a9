"""The planned reader: index the packets, then decode only what the wanted frames need.

1. One pass over the packets without decoding gives every frame's time and the key frames (index.py).
2. Wanted times become wanted frames, grouped by the key frame that their decoding begins at (plan.py).
3. Seek to each of these key frames, decode up to the last wanted frame of the group, match times exactly.
4. What is still missing is looked for once more in a decode from the start; what then is missing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import av
import av.error

from strive_data.config import DecodeSettings
from strive_data.decode.index import PacketIndex, packets_after_seek, read_index
from strive_data.decode.media import open_media
from strive_data.decode.plan import Run, plan_runs
from strive_data.decode.store import FrameStore, finish
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, VideoInfo
from strive_data.timeline import cell_midpoints, shown_frames

# Codecs in which the decoder can leave out a frame that no other frame refers to, and tell it surely.
_SKIPPING_CODECS = frozenset({"h264"})

_UNSUPPORTED = (av.error.PatchWelcomeError, av.error.DecoderNotFoundError, NotImplementedError)

Numbered = Iterator[tuple[int, Any]]
Faults = dict[int, Exception]
"""Place of a packet in decode order → what its decoding raised."""


class PyavReader:
    """Reads exact frames from every format on the list of media.py; see the module's text."""

    name = "pyav"
    version = av.__version__

    def read(self, path: Path, settings: DecodeSettings) -> Candidates:
        """Candidates at the midpoints of equal cells; raises SampleError (see `read_candidates`)."""
        with open_media(path) as container:
            stream = container.streams.best("video")
            index = read_index(path, container, stream)
            midpoints = cell_midpoints(index.duration_seconds, settings.candidates)
            chosen = shown_frames(index.times, midpoints)
            slots = {int(pts): slot for slot, pts in enumerate(index.pts[chosen])}
            store, faults = FrameStore(len(slots), settings), Faults()
            if index.timed:
                for run in plan_runs(index, set(slots)):
                    packets = _packets_from(container, stream, index, run.start)
                    for tick, frame in _timed_frames(_run_frames(stream, run, packets, faults)):
                        _keep(tick, frame, slots, store)
        if not store.filled.all():
            _read_through(path, index, slots, store, faults)
        _raise_unsupported(path, store, faults)
        info = _info(self, index, store, _count_errors(index, slots, store, faults))
        return finish(path, store, index.times[chosen], info)


def _info(reader: PyavReader, index: PacketIndex, store: FrameStore, errors: int) -> VideoInfo:
    width, height = store.shown_size
    return VideoInfo(
        video_id=index.video_id,
        duration_seconds=index.duration_seconds,
        width=width,
        height=height,
        reader=reader.name,
        reader_version=reader.version,
        decode_errors=errors,
    )


def _keep(tick: int, frame: Any, slots: dict[int, int], store: FrameStore) -> None:
    """Store a frame whose tick has a slot that is still free."""
    slot = slots.get(tick)
    if slot is not None and not store.filled[slot]:
        store.put(slot, frame)


def _timed_frames(frames: Iterable[Any]) -> Numbered:
    return ((frame.pts, frame) for frame in frames if frame.pts is not None)


def _run_frames(stream: Any, run: Run, packets: Numbered, faults: Faults) -> Iterator[Any]:
    """Frames of one run, those of unwanted packets that nothing refers to left out."""
    codec = stream.codec_context
    skips = codec.name in _SKIPPING_CODECS
    for place, packet in packets:
        codec.skip_frame = "NONREF" if skips and place not in run.wanted else "DEFAULT"
        yield from _decode(codec, packet, place, faults)
        if place + 1 >= run.stop:
            break
    codec.skip_frame = "DEFAULT"
    yield from _decode(codec, None, run.stop - 1, faults)


def _decode(codec: Any, packet: Any, place: int, faults: Faults) -> list[Any]:
    try:
        frames: list[Any] = codec.decode(packet)
    except MemoryError:
        raise
    except av.error.FFmpegError as error:
        faults[place] = error
        return []
    return frames


def _packets_from(container: Any, stream: Any, index: PacketIndex, start: int) -> Numbered:
    """Packets in decode order from place `start` on, with their places; nothing if it cannot be found."""
    key = index.packets[start]
    for tick in _seek_ticks(index, start):
        try:
            container.seek(tick, stream=stream)
        except av.error.FFmpegError:
            continue
        packets = packets_after_seek(container, stream)
        for packet in packets:
            if packet.pts == key.pts and packet.size == key.size_bytes:
                yield start, packet
                yield from enumerate(packets, start + 1)
                return
            if packet.is_keyframe and packet.pts is not None and packet.pts > (key.pts or 0):
                break


def _seek_ticks(index: PacketIndex, start: int) -> Iterator[int]:
    """Where to seek for a key frame: its decoding time, then a key frame earlier, then the beginning.

    Formats seek by decoding or by presentation time, and some land a little late.
    """
    keys = [place for place in range(index.first_key, start + 1) if index.packets[place].is_key]
    for place in dict.fromkeys([*keys[:-3:-1], 0]):
        packet = index.packets[place]
        ticks = [tick for tick in (packet.pts, packet.dts) if tick is not None]
        if ticks:
            yield min(ticks)


def _read_through(
    path: Path, index: PacketIndex, slots: dict[int, int], store: FrameStore, faults: Faults
) -> None:
    """Decode from the start until every slot is filled.

    Without presentation times frames are told by their number, which is certain up to the first error only:
    nothing after it is kept.
    """
    with open_media(path) as container:
        stream = container.streams.best("video")
        everything = Run(start=0, stop=len(index.packets), wanted=frozenset(range(len(index.packets))))
        packets = enumerate(packets_after_seek(container, stream))
        decodable = ((place, packet) for place, packet in packets if place >= index.first_key)
        frames = _run_frames(stream, everything, decodable, faults)
        for tick, frame in _timed_frames(frames) if index.timed else _counted_frames(frames, index, faults):
            _keep(tick, frame, slots, store)
            if store.filled.all():
                break


def _counted_frames(frames: Iterable[Any], index: PacketIndex, faults: Faults) -> Numbered:
    for tick, frame in zip(index.pts.tolist(), frames, strict=False):
        if faults:
            return
        yield tick, frame


def _count_errors(index: PacketIndex, slots: dict[int, int], store: FrameStore, faults: Faults) -> int:
    """Errors of the demuxer, packets that failed, and wanted frames that were damaged or never came."""
    failed = {index.packets[place].pts for place in faults}
    lost = {tick for tick, slot in slots.items() if not store.filled[slot]}
    silent = lost - failed if index.timed or not faults else set()
    return index.errors + len(faults) + len(silent) + store.damaged


def _raise_unsupported(path: Path, store: FrameStore, faults: Faults) -> None:
    if store.filled.any():
        return
    for error in faults.values():
        if isinstance(error, _UNSUPPORTED):
            raise SampleError(FailureKind.UNSUPPORTED_CODEC, f"{path}: {error}") from error
