"""The planned reader: index the packets, then decode only what the wanted frames need.

1. One pass over the packets without decoding gives every frame's time and the key frames (packet_index.py).
2. Wanted times become wanted frames, grouped by the key frame that their decoding begins at (`plan_runs`).
3. Seek to each of these key frames, decode up to the last wanted frame of the group. Where the clock of the
   file jumps, so that a time finds no packet, all packets are read and the needed ones decoded.
4. Frames that are missing or damaged are read once more in a decode from the start. What is missing then is
   lost, what is damaged then is stored and counted. Errors of step 3 that step 4 overcomes are not counted.

A frame refers only to packets before it, back to a key frame. A damaged picture damages every picture that
refers to it, up to the next key frame, and the decoder marks the first of them only. So a frame counts as
damaged when anything between the key frame that its decoding begins at and the frame itself was.

Streams whose frames depend on more than the packets since a key frame begin at step 4. A packet is given its
place in decode order as its time stamp, and the decoder passes it on to the frame: equal, missing and
repeated times do not matter. Each codec is checked for damage where its decoder is silent about it
(cross_check.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from strive_data.config import DecodeSettings
from strive_data.decode.cross_check import STRICT, CrossCheck
from strive_data.decode.frame_times import cell_midpoints, shown_frames
from strive_data.decode.media import open_media, packets_until_error, pixel_aspect, video_stream
from strive_data.decode.packet_index import PacketIndex, index_stream
from strive_data.decode.store import FrameStore, finish
from strive_data.errors import FailureKind, SampleError
from strive_data.schema import Candidates

_UNSUPPORTED = (av.error.PatchWelcomeError, av.error.DecoderNotFoundError, NotImplementedError)


Numbered = Iterator[tuple[int, Any]]
"""Packets with their places in decode order."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One stretch of decoding: packets [start, stop) in decode order, `start` a key frame.

    `wanted` are the places of the packets whose frames are wanted; the last of them is `stop - 1`, since the
    decoder gives up the frames that it holds back when it is drained.
    """

    start: int
    stop: int
    wanted: frozenset[int]


@dataclass(kw_only=True)
class DecodeErrors:
    """Places (packets in decode order) at which decoding raised, and those whose frames came out marked."""

    raised: dict[int, Exception] = field(default_factory=dict)
    marked: set[int] = field(default_factory=set)

    def reach(self, start: int, place: int) -> bool:
        """Whether a frame, decoded from key frame `start` on, is damaged or refers to something damaged."""
        return any(start <= bad <= place for bad in (*self.raised, *self.marked))

    def forget_outside(self, runs: list[Run]) -> None:
        """Drop what was raised where no run needs it."""
        inside = {place for run in runs for place in self.raised if run.start <= place < run.stop}
        self.raised = {place: error for place, error in self.raised.items() if place in inside}


@dataclass(kw_only=True, eq=False)
class Search:
    """The decoding of one video: `slots` has each wanted frame with its slot in the store.

    A frame is named by the place of its packet, or by its number where it has no time. Frames with equal
    times share a slot, and the last one shown stays. `kept` are the frames that were put in; `damaged` the
    slots whose frames are damaged or refer to something damaged; `errors` are those of the last try, `raised`
    those of all.
    """

    index: PacketIndex
    slots: dict[int, int]
    store: FrameStore
    kept: set[int] = field(default_factory=set)
    errors: DecodeErrors = field(default_factory=DecodeErrors)
    damaged: set[int] = field(default_factory=set)
    raised: list[Exception] = field(default_factory=list)

    def unfinished(self) -> list[int]:
        """Wanted frames whose slots are damaged, or miss the frame that is shown last."""
        last = {slot: name for name, slot in self.slots.items()}
        return [
            name for name, slot in self.slots.items() if last[slot] not in self.kept or slot in self.damaged
        ]


def read_video(path: Path, settings: DecodeSettings) -> Candidates:
    """Candidates at the midpoints of equal cells, exact for every format on the list of media.py.

    Raises SampleError (see `read_candidates`).
    """
    with open_media(path, settings) as container:
        index, head = index_stream(path, container, settings)
        chosen = shown_frames(index.times, cell_midpoints(index.duration_seconds, settings.candidates))
        store = FrameStore(len(chosen), settings, pixel_aspect=pixel_aspect(video_stream(container)))
        search = Search(index=index, slots=_slots(index, chosen.tolist()), store=store)
        if not index.needs_all:
            _read_runs(container, head, search, path, settings)
    if search.unfinished():
        _read_through(path, search, settings)
    store.flush()
    unsupported = [error for error in search.raised if isinstance(error, _UNSUPPORTED)]
    if unsupported and not store.filled.any():
        message = f"{path}: {unsupported[0]}"
        raise SampleError(FailureKind.UNSUPPORTED_CODEC, message) from unsupported[0]
    return finish(
        path,
        store,
        index.times[chosen],
        reader=("pyav", av.__version__),
        video_id=index.video_id,
        duration_seconds=index.duration_seconds,
        decode_errors=_count_errors(search),
        discontinuities=index.discontinuities,
    )


def _slots(index: PacketIndex, chosen: list[int]) -> dict[int, int]:
    if not index.timed:
        return {number: slot for slot, number in enumerate(chosen)}
    equal = np.searchsorted(index.pts, index.pts[chosen], side="left").tolist()
    places = index.places.tolist()
    return {
        place: slot
        for slot, (first, last) in enumerate(zip(equal, chosen, strict=True))
        for place in places[first : last + 1]
    }


def _read_runs(container: Any, head: list[Any], search: Search, path: Path, settings: DecodeSettings) -> None:
    """Decode each planned run and keep its wanted frames; `head` are the first packets of the file."""
    index, stream = search.index, video_stream(container)
    codec, runs = stream.codec_context, plan_runs(index, search.slots)
    if codec.name in STRICT:
        codec.options = {**codec.options, "err_detect": STRICT[codec.name]}

    def packets_of(run: Run) -> Numbered:
        if run.start == index.first_key:
            return packets_from_start(head if run.stop <= len(head) else _all_packets(path, settings), index)
        return packets_from(container, stream, index, run.start)

    def packets_in_order(run: Run) -> Numbered:
        codec.flush_buffers()
        return ((place, packet) for place, packet in in_order if place >= run.start)

    in_order = packets_from_start(_all_packets(path, settings), index)
    reach = packets_in_order if index.discontinuities else packets_of
    for run in merge_overlapping(runs) if index.discontinuities else runs:
        frames = _run_frames(codec, run, reach(run), search)
        _keep_timed(_from_key(frames, index, run.start), [run], search)


def _all_packets(path: Path, settings: DecodeSettings) -> Iterator[Any]:
    """The packets of a file that is opened for them."""
    with open_media(path, settings) as container:
        yield from packets_until_error(container, video_stream(container))


def _from_key(frames: Iterable[Any], index: PacketIndex, start: int) -> Iterator[Any]:
    """The frames of a run; it ends where the packet that the file calls a key frame turns out to be none."""
    key_pts = index.packets[start].pts or 0
    checked = index.gradual or not index.packets[start].is_shown
    for frame in frames:
        if not checked and frame.pts == start and frame.key_frame:
            checked = True
        elif not checked and (index.packets[frame.pts].pts or 0) >= key_pts:
            return
        yield frame


def _keep_timed(frames: Iterable[Any], runs: list[Run], search: Search) -> None:
    """Keep the wanted frames of `runs` by their places, and find the damaged ones among them."""
    index, errors = search.index, search.errors
    first = min(run.start for run in runs)
    wanted = frozenset().union(*(run.wanted for run in runs))
    kept: set[int] = set()
    for frame in frames:
        # A leading picture of the first group lacks its references, and nothing that is wanted refers to it.
        if frame.is_corrupt and not is_leading(index, first, frame.pts):
            errors.marked.add(frame.pts)
        if frame.pts in wanted:
            search.store.put(search.slots[frame.pts], frame)
            kept.add(frame.pts)
            if len(kept) == len(wanted):
                break
    search.kept |= kept
    search.damaged -= {search.slots[place] for place in kept}
    for run in runs:
        damaged = [place for place in run.wanted & kept if errors.reach(run.start, place)]
        search.damaged.update(search.slots[place] for place in damaged)


def _run_frames(
    codec: Any, run: Run, packets: Numbered, search: Search, *, lenient: bool = False
) -> Iterator[Any]:
    """Frames of one run, without those of unwanted packets that nothing refers to.

    `lenient`: the decoder may pass over errors, which the strict one then finds beside it.
    """
    check = CrossCheck(codec, strict=lenient)
    known = search.index.packets
    for place, packet in packets:
        # Not left to the decoder: under NONREF it is also silent about a reference that it cannot read.
        codec.skip_frame = "NONREF" if place not in run.wanted and known[place].is_disposable else "DEFAULT"
        frames = _decode(codec, packet, place, search)
        difference = check.difference(packet, frames, codec.skip_frame)
        if isinstance(difference, av.error.FFmpegError):
            search.errors.raised[place] = difference
        elif difference is not None:
            search.errors.marked.add(place)
        yield from frames
        if place + 1 >= run.stop:
            break
    codec.skip_frame = "DEFAULT"
    yield from _decode(codec, None, run.stop - 1, search)


def _decode(codec: Any, packet: Any, place: int, search: Search) -> list[Any]:
    """Frames that come out with a packet, named by their places; None drains the decoder."""
    if packet is not None:
        packet.pts = packet.dts = place
    try:
        frames = [frame for frame in codec.decode(packet) if frame.pts is not None or not search.index.timed]
    except MemoryError:
        raise
    except av.error.FFmpegError as error:
        search.errors.raised[place] = error
        search.raised.append(error)
        return []
    for frame in frames[:2]:
        search.store.orient(frame, packet)
    return frames


def _read_through(path: Path, search: Search, settings: DecodeSettings) -> None:
    """Decode from the start for every slot that is empty or damaged."""
    index, wanted = search.index, search.unfinished()
    search.errors = DecodeErrors()
    stop = max(wanted) + 1 if index.timed else len(index.packets)
    needed = wanted if index.timed else range(stop)
    everything = Run(start=index.first_key, stop=stop, wanted=frozenset(needed))
    with open_media(path, settings) as container:
        stream = video_stream(container)
        packets = packets_from_start(packets_until_error(container, stream), index)
        frames = _run_frames(stream.codec_context, everything, packets, search, lenient=index.timed)
        if index.timed:
            runs = plan_runs(index, wanted)
            _keep_timed(frames, runs, search)
            search.errors.forget_outside(runs)
        else:
            _keep_counted(frames, search)


def _keep_counted(frames: Iterable[Any], search: Search) -> None:
    """Keep the wanted frames of a decode from the start by their number, where they have no times.

    The number is certain up to the first error only: nothing after it is kept.
    """
    damaged, last = False, max(search.slots)
    for number, frame in enumerate(frames):
        if search.errors.raised or number > last:
            return
        damaged = frame.is_corrupt or (damaged and not frame.key_frame)
        slot = search.slots.get(number)
        if slot is not None:
            search.store.put(slot, frame)
            if damaged:
                search.damaged.add(slot)


def _count_errors(search: Search) -> int:
    """Errors of the demuxer, packets that failed, and wanted frames that are damaged or never came."""
    index, raised = search.index, search.errors.raised
    empty = {slot for slot in search.slots.values() if not search.store.filled[slot]}
    failed = {search.slots.get(place) for place in raised}
    silent = empty - failed if index.timed or not raised else set()
    return index.errors + len(raised) + len(silent) + len(search.damaged)


def plan_runs(index: PacketIndex, wanted: Collection[int]) -> list[Run]:
    """Group the places of wanted packets by the key frame from which decoding must begin.

    A frame of a group that is shown before the group's key frame (a leading picture of an open GOP) refers
    to the group before, so its decoding begins one key frame earlier.
    """
    groups: dict[int, set[int]] = {}
    for place, start in _starts(index, wanted):
        groups.setdefault(start, set()).add(place)
    return [
        Run(start=start, stop=max(places) + 1, wanted=frozenset(places))
        for start, places in sorted(groups.items())
    ]


def merge_overlapping(runs: list[Run]) -> list[Run]:
    """Runs joined where one begins before the other stops, so that packets can be read once, in order."""
    merged: list[Run] = []
    for run in runs:
        if merged and run.start < merged[-1].stop:
            before = merged.pop()
            stop, wanted = max(before.stop, run.stop), before.wanted | run.wanted
            run = Run(start=before.start, stop=stop, wanted=wanted)
        merged.append(run)
    return merged


def is_leading(index: PacketIndex, key: int, place: int) -> bool:
    """Whether the packet at `place`, of the group of the key frame at `key`, is shown before that frame."""
    pts, key_pts = index.packets[place].pts, index.packets[key].pts
    return key_pts is not None and pts is not None and pts < key_pts


def packets_from(container: Any, stream: Any, index: PacketIndex, start: int) -> Numbered:
    """Packets from the key frame at `start` on, reached by seeking; no packets if it is not found."""
    key = index.packets[start]
    for tick in _seek_ticks(index, start):
        try:
            container.seek(tick, stream=stream)
        except av.error.FFmpegError:
            continue
        packets = packets_until_error(container, stream)
        for packet in packets:
            if packet.pts == key.pts and packet.size == key.size_bytes:
                yield start, packet
                yield from enumerate(packets, start + 1)
                return
            if packet.is_keyframe and packet.pts is not None and packet.pts > (key.pts or 0):
                break


def packets_from_start(packets: Iterable[Any], index: PacketIndex) -> Numbered:
    """The packets of a file that was not sought yet, from the first that can be decoded on.

    A seek to the start is no replacement: a demuxer gives some of the decoder's state (a palette) only once.
    """
    return ((place, packet) for place, packet in enumerate(packets) if place >= index.first_key)


def _starts(index: PacketIndex, wanted: Collection[int]) -> Iterator[tuple[int, int]]:
    """Place of each wanted packet, and the place of the key frame that its decoding begins at."""
    keys = [place for place, packet in enumerate(index.packets) if packet.is_key and place >= index.first_key]
    group = 0
    for place in sorted(wanted):
        while group + 1 < len(keys) and keys[group + 1] <= place:
            group += 1
        before = max(group - 1, 0)
        yield place, keys[before if is_leading(index, keys[group], place) else group]


def _seek_ticks(index: PacketIndex, start: int) -> Iterator[int]:
    """Where to seek for a key frame: its decoding time, then a key frame earlier, then the beginning.

    Formats seek by decoding or by presentation time, and some land a little late.
    """
    before = range(start - 1, index.first_key - 1, -1)
    earlier = next((place for place in before if index.packets[place].is_key), start)
    for place in dict.fromkeys((start, earlier, 0)):
        packet = index.packets[place]
        ticks = [tick for tick in (packet.pts, packet.dts) if tick is not None]
        if ticks:
            yield min(ticks)
