"""What an engine is: it turns videos into samples, in order, and knows nothing of shards.

The driver (build.py) draws the results one by one and writes them, so the bytes of a build do not depend on
the engine. An engine decides where videos are decoded and scored, and how many at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from strive_data.common.stopwatch import Seconds
from strive_data.schema import FailedRow, LocalVideo, Question, Sample

Row = tuple[int, Question]
VideoPath = LocalVideo | str
"""A file or folder of this machine, or the URL of one in a storage that storage.py knows."""


@dataclass(frozen=True, kw_only=True)
class VideoJob:
    """One video: its name in the annotation, where it lies, and its rows (row number, question)."""

    name: str
    path: VideoPath
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoResult:
    """What became of one job: one sample or failure for each of its rows, in their order.

    `frames` counts its candidates (0 if it could not be decoded); `from_cache`: nothing was decoded;
    `damaged_entry` is a damaged cache entry that was found; `seconds` by stage, in whatever process.
    """

    job: VideoJob
    results: tuple[Sample | FailedRow, ...]
    frames: int = 0
    from_cache: bool = False
    damaged_entry: Path | None = None
    seconds: Seconds = field(default_factory=dict)


class Engine(Protocol):
    """Made for one frozen BuildSettings; ready, or refused, when made."""

    def run(self, jobs: Iterable[VideoJob]) -> Iterator[VideoResult]:
        """One result for each job, in the order of the jobs, whatever the order of completion.

        `jobs` is drawn from as needed, so that memory stays flat; their names differ. A video or question
        that cannot be used is a FailedRow in its place; errors in the code are raised. Closing the iterator
        ends what it started.
        """
        ...
