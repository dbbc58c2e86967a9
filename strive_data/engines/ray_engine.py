"""The Ray engine: decoding actors on CPUs, scoring actors on GPUs or CPUs; the driver gets results in order.

The hosts are plain classes without Ray, which live on the machines of the cluster; `RayEngine` makes actors
of them, and ray_flow.py sends the videos through them.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from strive_data.config import BuildSettings, ClusterOptions, DecodeSettings
from strive_data.decode import read_candidates
from strive_data.engines.cache import VideoCache
from strive_data.engines.decode_pool import DecodingPool
from strive_data.engines.engine import VideoJob, VideoPath, VideoResult
from strive_data.engines.fetch import TimedRead
from strive_data.engines.local import embed_videos, video_result
from strive_data.engines.ray_flow import Actors, Flow, got
from strive_data.engines.samples import Video, open_cache, require_embeddings
from strive_data.errors import SampleError, UsageError
from strive_data.schema import LocalVideo
from strive_data.score import Scorer, make_scorer
from strive_data.shards.provenance import package_versions

# Set before Ray is imported: nothing is sent to its makers, and actors without GPU see none.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class ActorCounts(NamedTuple):
    """The actors of a build; `gpus` is the number of GPUs of each scorer."""

    decoders: int
    scorers: int
    gpus: float


@contextmanager
def connected(options: ClusterOptions, workers: int) -> Iterator[ActorCounts]:
    """Be connected to the cluster meanwhile; `workers` are decoding actors, 0 for one a free CPU.

    A cluster of this machine is made and ended here. Raises UsageError where ray is not installed, nothing
    answers at the address, or the cluster has not the room that is asked for.
    """
    ray, in_main = import_ray(), threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        _connect(ray, options, workers)
    finally:
        if in_main:  # Ray takes over SIGTERM, which the build answers by itself (`terminable`).
            signal.signal(signal.SIGTERM, before)
    try:
        yield count_actors(ray.cluster_resources(), options, workers)
    finally:
        ray.shutdown()


def import_ray() -> Any:
    """The ray package. Raises UsageError where it is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--engine ray needs the package ray: install this one with its extra, [ray]")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    return ray


def count_actors(resources: Mapping[str, float], options: ClusterOptions, workers: int) -> ActorCounts:
    """Actors that fit the CPUs and GPUs of a cluster: each takes one CPU, scorers their GPUs too.

    Raises UsageError where they do not fit: Ray would wait for more machines without an end.
    """
    cpus, all_gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0.0)
    gpus = options.gpus_per_scorer
    if gpus is None:
        gpus = 1.0 if all_gpus else 0.0
    scorers = options.scorers or (max(int(all_gpus / gpus), 1) if gpus else 1)
    decoders = workers or max(cpus - scorers, 1)
    if decoders + scorers > cpus or scorers * gpus > all_gpus:
        raise UsageError(
            f"the Ray cluster has {cpus} CPUs and {all_gpus:g} GPUs, {decoders} decoding and {scorers} "
            f"scoring actors need {decoders + scorers} and {scorers * gpus:g}: lower --workers, --scorers or "
            "--gpus-per-scorer, or add machines"
        )
    return ActorCounts(decoders=decoders, scorers=scorers, gpus=gpus)


def _connect(ray: Any, options: ClusterOptions, workers: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not options.address:
        # Logical CPUs: the scorer works while decoders wait for it, as in the local engine.
        cpus = (workers or os.cpu_count() or 1) + max(options.scorers, 1)
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)
        return
    try:
        ray.init(address=options.address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"--ray-address {options.address}: no Ray cluster answers ({reason})") from error


class RayEngine:
    """Decodes and scores in actors of a cluster, whose machines read videos, weights and cache by the same
    paths as this one, or by URL.

    `workers` are decoding actors (0: one a CPU that is left), of which each keeps its video in a process
    that can be killed, with the limits of the settings. Bits do not depend on which actor scores.
    Raises SettingsError and UsageError as the local engine does, and for a cluster that cannot be used.
    """

    def __init__(
        self, settings: BuildSettings, *, options: ClusterOptions, workers: int = 0, cache: Path | None = None
    ) -> None:
        self._ray = import_ray()
        with ExitStack() as ended:
            counts = ended.enter_context(connected(options, workers))
            self.scorers = self._actors(counts.scorers, ScoreHost, settings, gpus=counts.gpus)
            read: Callable[[Path, DecodeSettings], Video] = read_candidates
            if cache is not None:
                read = got(self._ray, self.scorers[0].open_cache.remote(cache)).read
            self.decoders = self._actors(counts.decoders, DecodeHost, settings.decode, read)
            for answer in [actor.versions.remote() for actor in [*self.scorers, *self.decoders]]:
                check_versions(got(self._ray, answer))
            self._ended = ended.pop_all()

    def run(self, jobs: Iterable[VideoJob]) -> Iterator[VideoResult]:
        """One result for each job, in their order (engine.py); once only: it ends the actors."""
        flow = Flow(self._ray, Actors(self.decoders), Actors(self.scorers), check_versions)
        with self._ended:
            try:
                yield from flow.run(jobs)
            finally:
                for actor in [*self.decoders, *self.scorers]:
                    self._ray.kill(actor)

    def _actors(self, count: int, host: type, *arguments: object, gpus: float = 0.0) -> list[Any]:
        """Actors that Ray restarts after a loss; ray_flow.py starts their videos again."""
        actor = self._ray.remote(host).options(
            num_cpus=1, num_gpus=gpus, max_restarts=-1, scheduling_strategy="SPREAD"
        )
        return [actor.remote(*arguments) for _ in range(count)]


def check_versions(there: Mapping[str, str | None]) -> None:
    """Raise UsageError if a machine has other versions than this one: its bytes might differ."""
    here = package_versions()
    other = [f"{name} {there.get(name)}, here {was}" for name, was in here.items() if there.get(name) != was]
    if other:
        raise UsageError(
            f"a machine of the Ray cluster has {'; '.join(other)}: equal bytes are promised for equal "
            "versions only; install the same ones on all"
        )


class DecodeHost:
    """Has one video after the other decoded in a killable process of its own, with the limits of the local
    engine: a video that hangs or kills its decoder costs neither this host nor another video."""

    def __init__(self, settings: DecodeSettings, read: Callable[[LocalVideo, DecodeSettings], Video]) -> None:
        self._pool = DecodingPool(settings, 1, read=TimedRead(read))

    def versions(self) -> Mapping[str, str | None]:
        """Versions of the packages where this host lives."""
        return package_versions()

    def close(self) -> None:
        """End the process that decodes."""
        self._pool.close()

    def decode(self, path: VideoPath) -> tuple[float | SampleError, Video | None]:
        """The seconds that reading took and the video, or why it cannot be used and None.

        Two values, so that the driver looks at the first alone. Errors of the code are raised.
        """
        read = self._pool.result(path, self._pool.submit(path))
        if isinstance(read, SampleError):
            return read, None
        video, seconds = read
        return seconds, video


class ScoreHost:
    """Scores and samples decoded videos with one scorer, loaded when it is first needed.

    Not in the constructor: what that raises reaches the driver as an actor that died, without its class.
    """

    def __init__(self, settings: BuildSettings) -> None:
        self._settings = settings

    @cached_property
    def _scorer(self) -> Scorer:
        scorer = make_scorer(self._settings.score)
        require_embeddings(scorer, self._settings)
        return scorer

    def versions(self) -> Mapping[str, str | None]:
        """Versions of the packages where this host lives, once the scorer is loaded.

        Raises SettingsError and UsageError for a scorer that cannot be had with these settings.
        """
        self._scorer  # noqa: B018  # loaded for what it raises
        return package_versions()

    def open_cache(self, folder: Path) -> VideoCache:
        """The cache of videos embedded by this scorer; raises what `open_cache` does."""
        return open_cache(folder, self._scorer, self._settings)

    def score(self, job: VideoJob, video: Video, decode_seconds: float) -> VideoResult:
        """The result of a job. One video at a time: an embedding's bits do not depend on its batch."""
        (done,) = embed_videos([(job.name, video)], self._scorer)
        return video_result(job, done, self._scorer, self._settings, decode_seconds=decode_seconds)
