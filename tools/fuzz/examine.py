"""One broken file: read as a build does, then compared with a plain decode of the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from strive_data.config import DecodeSettings
from strive_data.decode import read_candidates
from strive_data.errors import SampleError
from strive_data.schema import Candidates
from tools.fuzz.breaks import way_and_source
from tools.fuzz.sequential import differing_frames

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
