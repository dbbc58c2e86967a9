"""What an engine is, engines by name, and videos as its jobs: questions → samples, in order, without shards.

Whoever draws the results (build/pipeline.py, or an evaluation) takes them one by one, so they do not depend
on the engine. An engine decides where videos are decoded and scored, and how many at once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, get_args

from strive_data.annotations.videos import VideoFolder
from strive_data.common.settings import choose, require
from strive_data.config import ENGINES, BuildSettings, ClusterOptions
from strive_data.errors import SampleError
from strive_data.schema import FailedRow, LocalVideo, Question, Sample, TimedFolder, failed_row

WorkStage = Literal["decode", "model", "encode", "write"]
"""decode: in workers, summed over them; model: the scorer; encode: choosing frames, JPEG; write: shards."""

WORK_STAGES: tuple[WorkStage, ...] = get_args(WorkStage)

Seconds = Mapping[WorkStage, float]


class Stopwatch:
    """Adds up wall-clock seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[WorkStage, float] = dict.fromkeys(WORK_STAGES, 0.0)

    @contextmanager
    def stage(self, name: WorkStage) -> Iterator[None]:
        """Count the seconds of the block to `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started

    def add(self, seconds: Seconds) -> None:
        """Add what another stopwatch counted."""
        for name, spent in seconds.items():
            self.seconds[name] += spent


Row = tuple[int, Question]
VideoPath = LocalVideo | str
"""A file or folder of this machine, or the URL of one in a storage that storage.py knows."""
VideoKey = tuple[str, float, tuple[float, ...]]


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

    def run(self, jobs: Iterable[VideoJob]) -> Generator[VideoResult, None, None]:
        """One result for each job, in the order of the jobs, whatever the order of completion.

        `jobs` is drawn from as needed, so that memory stays flat; their names differ. A video or question
        that cannot be used is a FailedRow in its place; errors in the code are raised. Closing the iterator
        ends what it started.
        """
        ...


def make_engine(
    name: str,
    settings: BuildSettings,
    *,
    workers: int = 0,
    cache: Path | None = None,
    cluster: ClusterOptions | None = None,
) -> Engine:
    """The engine of that name, ready to run; imported here, as Ray costs a second, PyAV and torch more.

    `workers` is the number of decoding processes, 0 for one a core; `cache` a folder that keeps decoded and
    embedded videos for later builds (cache.py); `cluster` is for "ray".
    Raises SettingsError for an unknown name and for what the settings do not allow, UsageError for a scorer,
    cache folder or cluster that is not available.
    """
    choose(name, ENGINES, "engine")
    cluster = cluster or ClusterOptions()
    if name == "ray":
        from strive_data.engines.ray_engine import RayEngine

        return RayEngine(settings, options=cluster, workers=workers, cache=cache)
    require(cluster == ClusterOptions(), "--ray-address, --scorers and --gpus-per-scorer need --engine ray")
    from strive_data.engines.local import LocalEngine

    return LocalEngine(settings, workers=workers, cache=cache)


def jobs_of(rows: Sequence[Row], data_root: Path | str) -> list[VideoJob]:
    """One job a video, in the order of their first row: each video is decoded and embedded once.

    A folder of pictures to which rows give different times is a video for each.
    """
    videos: dict[VideoKey, list[Row]] = {}
    for row in rows:
        videos.setdefault(video_key(row[1]), []).append(row)
    names: Counter[str] = Counter()
    jobs = []
    for (video, *_), mine in videos.items():
        names[video] += 1
        name, first = video if names[video] == 1 else f"{video} ({names[video]})", mine[0][1]
        path: VideoPath = f"{data_root}/{video}"
        if isinstance(data_root, Path):
            path = data_root / video
            if first.fps or first.frame_times:
                path = TimedFolder(path, first.fps, first.frame_times)
        jobs.append(VideoJob(name=name, path=path, rows=tuple(mine)))
    return jobs


def video_key(question: Question) -> VideoKey:
    """What tells one video from another: its name, and the times that its rows give to its pictures."""
    return question.video, question.fps, question.frame_times


def find_videos(rows: Sequence[Row], data_root: Path) -> tuple[list[VideoJob], list[FailedRow]]:
    """One job for each video that exists, in the order of the first of its rows (number, question); a failed
    row (missing, outside_root) for each other row."""
    folder = VideoFolder(data_root)
    found, failures = [], []
    for row in rows:
        try:
            video = folder.find(row[1].video, timed=bool(row[1].fps or row[1].frame_times))
        except SampleError as error:
            failures.append(failed_row(row, "annotation", error))
        else:
            found.append((row[0], replace(row[1], video=video)))
    return jobs_of(found, data_root), failures
