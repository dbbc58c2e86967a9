"""The decord reader: frames by number, on decord's own timeline.

Known to give wrong frames in silence for many files, so it refuses those of which the packet index does not
show that it is exact (exact.py), and `auto` turns to it only where the planned PyAV reader hung or died.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import av
import numpy as np

from strive_data.config import DecodeSettings
from strive_data.decode.frame_times import cell_midpoints, shown_frames
from strive_data.decode.media import open_media, pixel_aspect
from strive_data.decode.packet_index import PacketIndex, read_index
from strive_data.decode.plan import is_leading
from strive_data.decode.store import FrameStore, finish
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Candidates, Times, VideoInfo

# Where decord can be trusted: pure, over the packets that the demuxer shows.
#
# Seen on the corpus of bar codes (tests/strive_data/decode): without a word decord gives other frames than
# those shown for open groups of pictures, for packets that are decoded and not shown (edit lists), for
# streams
# that begin inside a group, and in containers that store no presentation times or cannot be seeked by them.

EXACT_FORMATS = frozenset({"mov", "matroska"})
"""FFmpeg's names of the containers in which decord finds the frame that it was asked for."""

SAME_SECONDS = 2e-3
"""Two demuxers' times of one frame agree to this: Matroska stores whole milliseconds."""


def why_inexact(index: PacketIndex, formats: frozenset[str], times_F: Times) -> str | None:
    """Why decord, which gives its frames the times `times_F` seconds, may be wrong; None if it is exact."""
    if not formats & EXACT_FORMATS:
        return f"its container is {', '.join(sorted(formats))}"
    if index.errors:
        return "the file is damaged"
    if not index.timed:
        return "its packets have no presentation times"
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


def _has_open_group(index: PacketIndex) -> bool:
    key = 0
    for place, packet in enumerate(index.packets):
        key = place if packet.is_key else key
        if is_leading(index, key, place):
            return True
    return False


class DecordReader:
    """Reads frames through decord, which is loaded at the first use and exists for x86-64 only.

    `trusting` leaves the check of exactness out: for measurements of how often decord is wrong.
    """

    name = "decord"

    def __init__(self, *, trusting: bool = False) -> None:
        self._trusting = trusting
        try:
            self._decord: Any = importlib.import_module("decord")
        except ImportError as error:
            hint = "install decord (x86-64 only) or set decode.reader to 'pyav'"
            raise UsageError(f"decode.reader = 'decord', but decord cannot be imported: {hint}") from error
        self.version: str = self._decord.__version__

    def read(self, path: Path, settings: DecodeSettings) -> Candidates:
        """Candidates at the midpoints of equal cells; raises SampleError (see `read_candidates`)."""
        with open_media(path, settings) as container:
            stream = container.streams.best("video")
            index = read_index(path, container, stream)
            formats = frozenset(container.format.name.split(","))
            coded_size = stream.codec_context.width, stream.codec_context.height
            aspect = pixel_aspect(stream)
        video, starts_F, duration_seconds = self._open(path)
        self._check(path, index, formats, starts_F)
        chosen = shown_frames(starts_F, cell_midpoints(duration_seconds, settings.candidates))
        store = FrameStore(len(chosen), settings)
        for slot, number in enumerate(chosen.tolist()):
            pixels = self._pixels(video, number)
            if pixels is not None:
                # decord turns frames upright by itself, and their pixels with them.
                turned = pixels.shape[1::-1] == coded_size[::-1] != coded_size
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                store.put(slot, frame, 1 / aspect if turned else aspect)
        lost = int((~store.filled).sum())
        if lost and not self._trusting:
            # Which ones it loses, and what it then takes for the next, changes from one run to the next.
            message = f"{path}: decord cannot decode {lost} of {len(chosen)} wanted frames"
            raise SampleError(FailureKind.PARTIAL_DECODE, message)
        info = VideoInfo(
            video_id=index.video_id,
            duration_seconds=duration_seconds,
            width=store.shown_size[0],
            height=store.shown_size[1],
            reader=self.name,
            reader_version=self.version,
            decode_errors=index.errors + lost,
        )
        return finish(path, store, starts_F[chosen], info)

    def _check(self, path: Path, index: PacketIndex, formats: frozenset[str], starts_F: Times) -> None:
        reason = None if self._trusting else why_inexact(index, formats, starts_F)
        if reason:
            message = f"{path}: decord may give wrong frames, {reason}; set decode.reader to 'auto' or 'pyav'"
            raise SampleError(FailureKind.UNSUPPORTED_CODEC, message)

    def _open(self, path: Path) -> tuple[Any, Times, float]:
        """The video, the times of its frames in seconds from the first one, and its duration in seconds."""
        try:
            video = self._decord.VideoReader(str(path), ctx=self._decord.cpu(0), num_threads=1)
            spans_F2 = np.asarray(video.get_frame_timestamp(range(len(video))), dtype=np.float64)
        except (self._decord.DECORDError, RuntimeError) as error:
            message = f"{path}: decord cannot open it: {_first_line(error)}"
            raise SampleError(FailureKind.UNSUPPORTED_CODEC, message) from error
        if len(spans_F2) == 0:
            raise SampleError(FailureKind.ZERO_FRAMES, f"{path}: decord finds no frames")
        starts_F = np.maximum.accumulate(spans_F2[:, 0]) - spans_F2[0, 0]
        duration_seconds = float(spans_F2[-1, 1] - spans_F2[0, 0])
        if duration_seconds <= 0:
            duration_seconds = float(starts_F[-1] + 1 / video.get_avg_fps())
        return video, starts_F, duration_seconds

    def _pixels(self, video: Any, number: int) -> Any:
        """RGB uint8 [H, W, 3] of one frame at full size, None if it cannot be decoded."""
        try:
            return video[number].asnumpy()
        except (self._decord.DECORDError, RuntimeError):
            return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
