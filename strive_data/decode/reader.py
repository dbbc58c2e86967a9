"""Candidates of a video by the reader that the settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from strive_data.config import DecodeSettings
from strive_data.decode.decord_reader import DecordReader
from strive_data.decode.pyav_reader import PyavReader
from strive_data.schema import Candidates


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
    reader, to which the engines give decord as a second try (engines/second_try.py); decord refuses what it
    may get wrong (exact.py).
    Raises SampleError of kind missing, empty, not_media, no_moov, no_video_stream, unsupported_codec,
    zero_frames, partial_decode or oom (frames above `max_source_pixels`); MemoryError where the process may
    take no more; UsageError if a forced reader is not installed.
    """
    reader: FrameReader = DecordReader() if settings.reader == "decord" else PyavReader()
    return reader.read(path, settings)
