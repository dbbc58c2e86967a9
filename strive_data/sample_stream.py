"""Questions → samples, video after video, without shards: how an evaluation reads videos.

Engine, settings, sizes, JPEGs and cache are those of a build, so that a policy sees the frames of a benchmark
exactly as it saw those of its training data.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from strive_data.annotations.videos import VideoFolder
from strive_data.config import BuildSettings
from strive_data.engines.engine import Row, VideoJob, VideoResult
from strive_data.engines.registry import make_engine
from strive_data.errors import SampleError
from strive_data.plan import jobs_of
from strive_data.schema import FailedRow, failed_row

__all__ = ["VideoJob", "VideoResult", "find_videos", "sample_stream"]


def find_videos(rows: Sequence[Row], data_root: Path) -> tuple[list[VideoJob], list[FailedRow]]:
    """One job for each video that exists, in the order of the first of its rows (number, question); a failed
    row (missing, outside_root) for each other row."""
    folder = VideoFolder(data_root)
    found, failures = [], []
    for row in rows:
        try:
            folder.find(row[1].video, timed=bool(row[1].fps or row[1].frame_times))
        except SampleError as error:
            failures.append(failed_row(row, "annotation", error))
        else:
            found.append(row)
    return jobs_of(found, data_root), failures


def sample_stream(
    jobs: Iterable[VideoJob],
    settings: BuildSettings,
    *,
    workers: int = 0,
    cache: Path | None = None,
    engine: str = "local",
) -> Generator[VideoResult, None, None]:
    """The result of each job, in their order: a sample or a failed row for each of its rows.

    `workers`, `cache` and `engine` as for `build`. Decoding continues while the caller uses a result. Closing
    the iterator ends the workers. Raises UsageError and SettingsError as `make_engine`.
    """
    results = make_engine(engine, settings, workers=workers, cache=cache).run(jobs)
    with closing(results):  # type: ignore[type-var]  # an engine's iterator is a generator
        yield from results
