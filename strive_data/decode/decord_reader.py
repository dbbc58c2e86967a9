"""The decord reader: frames by number, on decord's own timeline.

decord gives wrong frames without an error for many files. Seen on the corpus of bar codes (tools/barcodes):
open groups of pictures, packets that are decoded and not shown (edit lists), streams that begin inside a
group, mirrored pictures, and containers that store no presentation times or cannot be sought by them. So this
reader refuses the files for which the packet index does not show that decord is exact, and `auto` turns to it
only where the planned PyAV reader hung or died.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import av
import numpy as np

from strive_data.config import DecodeSettings
from strive_data.decode.frame_times import cell_midpoints, shown_frames
from strive_data.decode.media import decode, open_media, packets_until_error, pixel_aspect, video_stream
from strive_data.decode.packet_index import PacketIndex, read_index
from strive_data.decode.pyav_reader import is_leading
from strive_data.decode.store import UPRIGHT, FrameStore, Orientation, finish, frame_orientation
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Candidates, Times

EXACT_FORMATS = frozenset({"mov", "matroska"})
"""FFmpeg's names of the containers in which decord finds the frame that it was asked for."""

SAME_SECONDS = 2e-3
"""Two demuxers' times of one frame agree to this: Matroska stores whole milliseconds."""


def why_inexact(
    index: PacketIndex, formats: frozenset[str], times_F: Times, orientation: Orientation | None = UPRIGHT
) -> str | None:
    """Why decord, which gives its frames the times `times_F` seconds, may be wrong; None if it is exact.

    `orientation` is that of the display matrix, None if the matrix is no orientation.
    """
    if orientation is None or orientation.is_mirrored:
        return "its display matrix is no rotation"
    if not formats & EXACT_FORMATS:
        return f"its container is {', '.join(sorted(formats))}"
    if index.errors:
        return "the file is damaged"
    if not index.timed:
        return "its packets have no presentation times"
    if index.discontinuities or np.any(np.diff(index.pts) == 0):
        return "its clock jumps, or frames have equal times"
    if index.first_key > 0:
        return "it begins inside a group of pictures"
    if not all(packet.is_shown for packet in index.packets):
        return "it has packets that are decoded and not shown"
    if index.gradual or _has_open_group(index):
        return "it has open groups of pictures or gradual refreshes"
    if len(times_F) != len(index.pts):
        return f"decord finds {len(times_F)} frames and the index {len(index.pts)}"
    if np.abs(times_F - index.times).max() > SAME_SECONDS:
        return "decord gives its frames other times than the index"
    return None


def _first_orientation(container: Any, stream: Any) -> Orientation | None:
    """Orientation of the first frame that can be decoded, None if its matrix is no orientation."""
    for packet in packets_until_error(container, stream):
        for frame in decode(stream.codec_context, packet):
            return frame_orientation(frame, packet)
    return UPRIGHT


def _has_open_group(index: PacketIndex) -> bool:
    key = 0
    for place, packet in enumerate(index.packets):
        key = place if packet.is_key else key
        if is_leading(index, key, place):
            return True
    return False


def read_by_decord(path: Path, settings: DecodeSettings, *, trusting: bool = False) -> Candidates:
    """Candidates at the midpoints of equal cells, through decord, which exists for x86-64 only.

    `trusting` leaves the check of exactness out: for measurements of how often decord is wrong. Raises
    SampleError (see `read_candidates`), and UsageError where decord is not installed.
    """
    decord = _decord()
    index = read_index(path, settings)
    with open_media(path, settings) as container:
        stream = video_stream(container)
        formats = frozenset(container.format.name.split(","))
        orientation = _first_orientation(container, stream)
        aspect = pixel_aspect(stream)
    video, starts_F, duration_seconds = _open(decord, path)
    if not trusting and (reason := why_inexact(index, formats, starts_F, orientation)):
        message = f"{path}: decord may give wrong frames, {reason}; set decode.reader to 'auto' or 'pyav'"
        raise SampleError(FailureKind.UNSUPPORTED_CODEC, message)
    chosen = shown_frames(starts_F, cell_midpoints(duration_seconds, settings.candidates))
    # decord turns frames upright by itself, and their pixels with them.
    aspect = 1 / aspect if orientation is not None and orientation.transpose else aspect
    store = FrameStore(len(chosen), settings, pixel_aspect=aspect, orientation=UPRIGHT)
    for slot, number in enumerate(chosen.tolist()):
        try:
            pixels = video[number].asnumpy()
        except (decord.DECORDError, RuntimeError):
            continue
        store.put(slot, av.VideoFrame.from_ndarray(pixels, format="rgb24"))
    lost = int((~store.filled).sum())
    if lost and not trusting:
        # Which ones it loses, and what it then takes for the next, changes from one run to the next.
        message = f"{path}: decord cannot decode {lost} of {len(chosen)} wanted frames"
        raise SampleError(FailureKind.PARTIAL_DECODE, message)
    return finish(
        path,
        store,
        starts_F[chosen],
        reader=("decord", decord.__version__),
        video_id=index.video_id,
        duration_seconds=duration_seconds,
        decode_errors=index.errors + lost,
    )


def _decord() -> Any:
    try:
        return importlib.import_module("decord")
    except ImportError as error:
        hint = "install decord (x86-64 only) or set decode.reader to 'pyav'"
        raise UsageError(f"decode.reader = 'decord', but decord cannot be imported: {hint}") from error


def _open(decord: Any, path: Path) -> tuple[Any, Times, float]:
    """The video, the times of its frames in seconds from the first one, and its duration in seconds."""
    try:
        video = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        spans_F2 = np.asarray(video.get_frame_timestamp(range(len(video))), dtype=np.float64)
    except (decord.DECORDError, RuntimeError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        message = f"{path}: decord cannot open it: {said}"
        raise SampleError(FailureKind.UNSUPPORTED_CODEC, message) from error
    if len(spans_F2) == 0:
        raise SampleError(FailureKind.ZERO_FRAMES, f"{path}: decord finds no frames")
    starts_F = np.maximum.accumulate(spans_F2[:, 0]) - spans_F2[0, 0]
    duration_seconds = float(spans_F2[-1, 1] - spans_F2[0, 0])
    if duration_seconds <= 0:
        duration_seconds = float(starts_F[-1] + 1 / video.get_avg_fps())
    return video, starts_F, duration_seconds
