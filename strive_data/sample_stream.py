"""Questions → samples, one video after another, without shards: how an evaluation reads videos.

The same engine, settings, sizes, JPEGs and cache as of a build, so a policy is shown a benchmark's frames
exactly as it was shown those it learned from.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from strive_data.annotations.videos import VideoFolder
from strive_data.config import BuildSettings
from strive_data.engines.engine import VideoJob, VideoResult
from strive_data.engines.registry import make_engine
from strive_data.errors import SampleError
from strive_data.plan import jobs_of
from strive_data.schema import Failure, Question

__all__ = ["VideoJob", "VideoResult", "find_videos", "sample_stream"]

Rows = Sequence[tuple[int, Question]]


def find_videos(rows: Rows, data_root: Path) -> tuple[list[VideoJob], list[Failure]]:
    """One job for each video that is there, in the order of the first of its rows (number, question); a
    failure (missing, outside_root) for each other row."""
    folder = VideoFolder(data_root)
    found, failures = [], []
    for number, question in rows:
        try:
            folder.find(question.video)
        except SampleError as error:
            failures.append(_failure(number, question, error))
        else:
            found.append((number, question))
    return jobs_of(found, data_root), failures


def sample_stream(
    jobs: Iterable[VideoJob],
    settings: BuildSettings,
    *,
    workers: int = 0,
    cache: Path | None = None,
    engine: str = "local",
) -> Generator[VideoResult, None, None]:
    """What the engine makes of each job, in their order: a sample or a failure for each of its rows.

    `workers`, `cache` and `engine` as for `build`; decoding goes on beside what the caller does with a
    result. Closing the iterator ends the workers. Raises UsageError and SettingsError as `make_engine`.
    """
    results = make_engine(engine, settings, workers=workers, cache=cache).run(jobs)
    with closing(results):  # type: ignore[type-var]  # an engine's iterator is a generator
        yield from results


def _failure(number: int, question: Question, error: SampleError) -> Failure:
    return Failure(
        sample_id=question.sample_id,
        row=number,
        video=question.video,
        stage="annotation",
        kind=error.kind,
        message=error.message,
    )
