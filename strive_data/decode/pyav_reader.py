"""The planned reader: index the packets, then decode only what the wanted frames need.

1. One pass over the packets without decoding gives every frame's time and the key frames (index.py).
2. Wanted times become wanted frames, grouped by the key frame that their decoding begins at (plan.py).
3. Seek to each of these key frames, decode up to the last wanted frame of the group, match times exactly.
4. What is still missing is looked for once more in a decode from the start; what then is missing is lost.

Each codec is watched for damage where its decoder keeps quiet about it: witness.py and `_STRICT_CODECS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from strive_data.config import DecodeSettings
from strive_data.decode.cross_check import Witness
from strive_data.decode.frame_times import cell_midpoints, shown_frames
from strive_data.decode.media import open_media, packets_until_error, pixel_aspect
from strive_data.decode.packet_index import PacketIndex, read_index
from strive_data.decode.plan import Damage, Numbered, Run, is_leading, packets_from, plan_runs
from strive_data.decode.store import FrameStore, finish
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates, VideoInfo

# Codecs whose decoder passes over errors in a picture, and leaves its rest as the memory was, unless told to
# raise. In step 4 it is let do so: the frame is kept, and counted as damaged. Where the stream has the MD5 of
# its pictures (H.265, section D.3.19), they are compared, and a single turned bit is found.
_STRICT_CODECS = frozenset({"hevc"})
_STRICT = "explode+crccheck"

_UNSUPPORTED = (av.error.PatchWelcomeError, av.error.DecoderNotFoundError, NotImplementedError)


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """The decoding of one video: `slots` has the wanted ticks, each with its slot in the store.

    `damaged` are the slots whose frames are damaged, or refer to something damaged.
    """

    index: PacketIndex
    slots: dict[int, int]
    store: FrameStore
    pixel_aspect: Fraction
    damage: Damage = field(default_factory=Damage)
    damaged: set[int] = field(default_factory=set)

    def keep(self, tick: int, frame: Any) -> bool:
        """Store a frame whose tick has a slot that is still free; whether it was one."""
        slot = self.slots.get(tick)
        if slot is None or self.store.filled[slot]:
            return False
        self.store.put(slot, frame, self.pixel_aspect)
        return True


class PyavReader:
    """Reads exact frames from every format on the list of media.py; see the module's text."""

    name = "pyav"
    version = av.__version__

    def read(self, path: Path, settings: DecodeSettings) -> Candidates:
        """Candidates at the midpoints of equal cells; raises SampleError (see `read_candidates`)."""
        with open_media(path, settings) as container:
            stream = container.streams.best("video")
            index = read_index(path, container, stream)
            midpoints = cell_midpoints(index.duration_seconds, settings.candidates)
            chosen = shown_frames(index.times, midpoints)
            slots = {int(pts): slot for slot, pts in enumerate(index.pts[chosen])}
            store = FrameStore(len(slots), settings)
            search = Search(index=index, slots=slots, store=store, pixel_aspect=pixel_aspect(stream))
            if index.timed:
                _raise_errors(stream.codec_context)
                _read_runs(container, stream, search)
        if not store.filled.all():
            _read_through(path, search, settings)
        _raise_unsupported(path, search)
        return finish(path, store, index.times[chosen], _info(self, search))


def _info(reader: PyavReader, search: Search) -> VideoInfo:
    width, height = search.store.shown_size
    return VideoInfo(
        video_id=search.index.video_id,
        duration_seconds=search.index.duration_seconds,
        width=width,
        height=height,
        reader=reader.name,
        reader_version=reader.version,
        decode_errors=_count_errors(search),
    )


def _read_runs(container: Any, stream: Any, search: Search) -> None:
    """Seek to each planned run, decode it, and keep its wanted frames."""
    for run in plan_runs(search.index, set(search.slots)):
        packets = packets_from(container, stream, search.index, run.start)
        frames = _run_frames(stream.codec_context, run, packets, search)
        _keep_timed(_from_key(frames, search.index, run.start), [run], search)


def _raise_errors(codec: Any) -> None:
    """Let a decoder that is not yet open raise what it would pass over."""
    if codec.name in _STRICT_CODECS:
        codec.options = {**codec.options, "err_detect": _STRICT}


def _from_key(frames: Iterable[Any], index: PacketIndex, start: int) -> Iterator[Any]:
    """The frames of a run, or none where the file calls a packet a key frame that is none to the decoder."""
    key = index.packets[start]
    checked = index.gradual or not key.is_shown
    for frame in frames:
        if not checked and frame.pts is not None and key.pts is not None and frame.pts >= key.pts:
            if frame.pts != key.pts or not frame.key_frame:
                return
            checked = True
        yield frame


def _keep_timed(frames: Iterable[Any], runs: list[Run], search: Search) -> None:
    """Keep the wanted frames of `runs`, told by their times, and find the damaged ones among them."""
    packets = search.index.packets
    first = min(run.start for run in runs)
    last = max(run.stop for run in runs)
    place_of = {packets[place].pts: place for place in range(first, last) if packets[place].is_shown}
    kept: dict[int, int] = {}
    for frame in frames:
        place = place_of.get(frame.pts)
        if place is None:
            continue
        # A leading picture of the first group lacks its references, and nothing that is wanted refers to it.
        if frame.is_corrupt and not is_leading(search.index, first, place):
            search.damage.marked.add(place)
        if search.keep(frame.pts, frame):
            kept[place] = frame.pts
    for run in runs:
        damaged = [place for place in run.wanted & kept.keys() if search.damage.reaches(run.start, place)]
        search.damaged.update(search.slots[kept[place]] for place in damaged)


def _run_frames(codec: Any, run: Run, packets: Numbered, search: Search) -> Iterator[Any]:
    """Frames of one run, those of unwanted packets that nothing refers to left out."""
    witness = Witness(codec.name)
    known = search.index.packets
    for place, packet in packets:
        # Not left to the decoder: under NONREF it also keeps quiet about a reference that it cannot read.
        codec.skip_frame = "NONREF" if place not in run.wanted and known[place].is_disposable else "DEFAULT"
        frames = _decode(codec, packet, place, search.damage)
        if witness.contradicts(packet, frames):
            search.damage.marked.add(place)
        yield from frames
        if place + 1 >= run.stop:
            break
    codec.skip_frame = "DEFAULT"
    yield from _decode(codec, None, run.stop - 1, search.damage)


def _decode(codec: Any, packet: Any, place: int, damage: Damage) -> list[Any]:
    try:
        frames: list[Any] = codec.decode(packet)
    except MemoryError:
        raise
    except av.error.FFmpegError as error:
        damage.faults[place] = error
        return []
    return frames


def _read_through(path: Path, search: Search, settings: DecodeSettings) -> None:
    """Decode from the start until every slot is filled."""
    index, store = search.index, search.store
    with open_media(path, settings) as container:
        stream = container.streams.best("video")
        everything = Run(
            start=index.first_key, stop=len(index.packets), wanted=frozenset(range(len(index.packets)))
        )
        packets = enumerate(packets_until_error(container, stream))
        decodable = ((place, packet) for place, packet in packets if place >= index.first_key)
        frames = _until(store, _run_frames(stream.codec_context, everything, decodable, search))
        if index.timed:
            missing = {tick for tick, slot in search.slots.items() if not store.filled[slot]}
            _keep_timed(frames, plan_runs(index, missing), search)
        else:
            _keep_counted(frames, search)


def _until(store: FrameStore, frames: Iterable[Any]) -> Iterator[Any]:
    for frame in frames:
        yield frame
        if store.filled.all():
            return


def _keep_counted(frames: Iterable[Any], search: Search) -> None:
    """Keep the wanted frames of a decode from the start, told by their number where they have no times.

    The number is certain up to the first error only: nothing after it is kept.
    """
    damaged = False
    for tick, frame in zip(search.index.pts.tolist(), frames, strict=False):
        if search.damage.faults:
            return
        damaged = frame.is_corrupt or (damaged and not frame.key_frame)
        if search.keep(tick, frame) and damaged:
            search.damaged.add(search.slots[tick])


def _count_errors(search: Search) -> int:
    """Errors of the demuxer, packets that failed, and wanted frames that are damaged or never came."""
    index, faults = search.index, search.damage.faults
    failed = {index.packets[place].pts for place in faults}
    lost = {tick for tick, slot in search.slots.items() if not search.store.filled[slot]}
    silent = lost - failed if index.timed or not faults else set()
    return index.errors + len(faults) + len(silent) + len(search.damaged)


def _raise_unsupported(path: Path, search: Search) -> None:
    if search.store.filled.any():
        return
    for error in search.damage.faults.values():
        if isinstance(error, _UNSUPPORTED):
            raise SampleError(FailureKind.UNSUPPORTED_CODEC, f"{path}: {error}") from error
