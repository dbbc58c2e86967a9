"""Candidates of a video by the reader that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from strive_data.config import DecodeSettings
from strive_data.decode.decord_reader import DecordReader
from strive_data.decode.pyav_reader import PyavReader
from strive_data.errors import FailureKind, SampleError, UsageError
from strive_data.schema import Candidates

SECOND_CHANCE = frozenset({FailureKind.UNSUPPORTED_CODEC})
"""Failures after which decord may do better. What is no video stays none, and of a damaged one decord does
not say which frames the damage reaches."""


class FrameReader(Protocol):
    """Reads candidate frames: a name and a version for the record, and `read`."""

    @property
    def name(self) -> str:
        """Its name in the settings."""
        ...

    @property
    def version(self) -> str:
        """Version of the library behind it."""
        ...

    def read(self, path: Path, settings: DecodeSettings) -> Candidates:
        """Candidates of one video, or SampleError."""
        ...


def read_candidates(path: Path, settings: DecodeSettings) -> Candidates:
    """Decode the candidate frames of a video: those shown at the midpoints of N equal cells of its duration.

    N = `settings.candidates`; frames uint8 RGB [I, H, W, 3] in `storage_size`, times float64 [I], the true
    presentation times in seconds from the first shown frame. I < N where several midpoints fall on one frame
    (short or slow videos) or where damaged frames are lost: those are counted in `info.decode_errors`, as
    are frames that damage reaches, and never replaced by a neighbour. `reader = "auto"` is the planned PyAV
    reader, and decord for what it has no decoder for; decord refuses what it may get wrong (exact.py).
    Raises SampleError of kind missing, empty, not_media, no_moov, no_video_stream, unsupported_codec,
    zero_frames, partial_decode or oom (frames above `max_source_pixels`); MemoryError where the process may
    take no more; UsageError if a forced reader is not installed.
    """
    if settings.reader == "pyav":
        return PyavReader().read(path, settings)
    if settings.reader == "decord":
        return DecordReader().read(path, settings)
    return _read_auto(path, settings)


def _read_auto(path: Path, settings: DecodeSettings) -> Candidates:
    try:
        return PyavReader().read(path, settings)
    except SampleError as first:
        if first.kind not in SECOND_CHANCE:
            raise
        try:
            return DecordReader().read(path, settings)
        except (SampleError, UsageError) as second:
            message = f"{first.message}; decord: {second}"
            raise SampleError(first.kind, message) from second
