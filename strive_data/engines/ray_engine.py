"""The Ray engine: decoding actors on CPUs, scoring actors on GPUs or CPUs; the driver gets results in order.

`DecodeHost` and `ScoreHost` are plain classes without Ray, which live on the machines of the cluster;
`RayEngine` makes actors of them, and `Flow` sends the videos through them, each in a thread of the driver.
Frames go from the actor that decoded them to the one that scores them through the cluster's object store; the
driver sees references, and in the end samples. A lost actor is paused until Ray has restarted it on a machine
with room; its video is decoded again by another actor.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

from strive_data.common.process_pool import in_order
from strive_data.config import BuildSettings, ClusterOptions, DecodeSettings
from strive_data.decode import read_candidates
from strive_data.engines.cache import VideoCache
from strive_data.engines.decode_pool import DecodingPool, timed_read
from strive_data.engines.engine import VideoJob, VideoPath, VideoResult
from strive_data.engines.local import (
    Decoded,
    Video,
    embed_videos,
    open_cache,
    require_embeddings,
    video_result,
)
from strive_data.errors import SampleError, StriveError, UsageError
from strive_data.schema import LocalVideo, failed_row
from strive_data.score import Scorer, make_scorer
from strive_data.shards.manifest import package_versions

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
        self._ray, here = import_ray(), package_versions()
        with ExitStack() as ended:
            counts = ended.enter_context(connected(options, workers))
            self.scorers = self._actors(counts.scorers, ScoreHost, settings, here, gpus=counts.gpus)
            read: Callable[[Path, DecodeSettings], Video] = read_candidates
            if cache is not None:
                read = got(self._ray, self.scorers[0].open_cache.remote(cache)).read
            self.decoders = self._actors(counts.decoders, DecodeHost, settings.decode, read, here)
            for answer in [actor.ready.remote() for actor in [*self.scorers, *self.decoders]]:
                got(self._ray, answer)
            self._ended = ended.pop_all()

    def run(self, jobs: Iterable[VideoJob]) -> Generator[VideoResult, None, None]:
        """One result for each job, in their order (engine.py); once only: it ends the actors."""
        with self._ended:
            yield from Flow(self._ray, self.decoders, self.scorers).run(jobs)

    def _actors(self, count: int, host: type, *arguments: object, gpus: float = 0.0) -> list[Any]:
        """Actors that Ray restarts after a loss; `Flow` starts their videos again."""
        actor = self._ray.remote(host).options(
            num_cpus=1, num_gpus=gpus, max_restarts=-1, scheduling_strategy="SPREAD"
        )
        return [actor.remote(*arguments) for _ in range(count)]


def check_versions(there: Mapping[str, str | None], here: Mapping[str, str | None]) -> None:
    """Raise UsageError if a machine has other versions than the driver: its bytes might differ."""
    other = [f"{name} {there.get(name)}, here {was}" for name, was in here.items() if there.get(name) != was]
    if other:
        raise UsageError(
            f"a machine of the Ray cluster has {'; '.join(other)}: equal bytes are promised for equal "
            "versions only; install the same ones on all"
        )


class DecodeHost:
    """Has one video after the other decoded in a killable process of its own, with the limits of the local
    engine: a video that hangs or kills its decoder costs neither this host nor another video.

    `versions` are the driver's, of which `ready` and each call make sure: Ray restarts a host anywhere.
    """

    def __init__(
        self,
        settings: DecodeSettings,
        read: Callable[[LocalVideo, DecodeSettings], Video],
        versions: Mapping[str, str | None],
    ) -> None:
        self._pool, self._versions = DecodingPool(settings, 1, read=partial(timed_read, read)), versions

    def ready(self) -> None:
        """Raise UsageError where the versions of the packages here are not the driver's."""
        check_versions(package_versions(), self._versions)

    def close(self) -> None:
        """End the process that decodes."""
        self._pool.close()

    def decode(self, path: VideoPath) -> tuple[float | SampleError, Video | None]:
        """The seconds that reading took and the video, or why it cannot be used and None.

        Two values, so that the driver looks at the first alone. Errors of the code are raised.
        """
        self.ready()
        read = self._pool.result(path, self._pool.start(path))
        if isinstance(read, SampleError):
            return read, None
        video, seconds = read
        return seconds, video


class ScoreHost:
    """Scores and samples decoded videos with one scorer, loaded when it is first needed.

    Not in the constructor: what that raises reaches the driver as an actor that died, without its class.
    `versions` as in DecodeHost.
    """

    def __init__(self, settings: BuildSettings, versions: Mapping[str, str | None]) -> None:
        self._settings, self._versions = settings, versions

    @cached_property
    def _scorer(self) -> Scorer:
        check_versions(package_versions(), self._versions)
        scorer = make_scorer(self._settings.score)
        require_embeddings(scorer, self._settings)
        return scorer

    def ready(self) -> None:
        """Load the scorer. Raises UsageError for other versions than the driver's, SettingsError and
        UsageError for a scorer that cannot be had with these settings."""
        self._scorer  # noqa: B018  # loaded for what it raises

    def open_cache(self, folder: Path) -> VideoCache:
        """The cache of videos embedded by this scorer; raises what `open_cache` does."""
        return open_cache(folder, self._scorer, self._settings)

    def score(self, job: VideoJob, video: Video, decode_seconds: float) -> VideoResult:
        """The result of a job. One video at a time: an embedding's bits do not depend on its batch."""
        ((decoded, embedded),) = embed_videos([Decoded(job, video, decode_seconds)], self._scorer)
        return video_result(decoded, embedded, self._scorer, self._settings)


CALLS_PER_ACTOR = 2  # one at work and one that waits, so that it is never idle
MAX_TRIES = 4


class Actors:
    """The actors of one kind, each free for CALLS_PER_ACTOR calls at once."""

    def __init__(self, ray: Any, actors: Sequence[Any]) -> None:
        self._ray, self._free = ray, SimpleQueue[Any]()
        for actor in CALLS_PER_ACTOR * [*actors]:
            self._free.put(actor)

    @contextmanager
    def one(self) -> Iterator[Any]:
        """The actor that has been free for longest. One that is lost meanwhile pauses until Ray has restarted
        it."""
        actor = self._free.get()
        try:
            yield actor
        except self._ray.exceptions.RayActorError:
            threading.Thread(target=self._resume, args=(actor,), daemon=True).start()
            raise
        except BaseException:
            self._free.put(actor)
            raise
        self._free.put(actor)

    def _resume(self, actor: Any) -> None:
        # What `ready` raises is raised again by the next call. Ray keeps this one until the actor is there.
        with suppress(self._ray.exceptions.RayError, StriveError, RuntimeError):
            got(self._ray, actor.ready.options(max_task_retries=-1).remote())
        self._free.put(actor)


class Flow:
    """Sends videos through the actors, of which it ends all; `ray` is the package."""

    def __init__(self, ray: Any, decoders: Sequence[Any], scorers: Sequence[Any]) -> None:
        self._ray, self._actors = ray, [*decoders, *scorers]
        self._decoders, self._scorers = Actors(ray, decoders), Actors(ray, scorers)
        self.most_in_flight = CALLS_PER_ACTOR * len(self._actors)
        """Largest number of videos between the first without a result and the last one started."""

    def run(self, jobs: Iterable[VideoJob]) -> Iterator[VideoResult]:
        """One result for each job, in their order. Raises StriveError if the cluster loses a video MAX_TRIES
        times, and what the code of the actors raises."""
        with ThreadPoolExecutor(self.most_in_flight, "video") as threads:
            try:
                started = in_order(
                    jobs, lambda job: threads.submit(self._result, job), most=self.most_in_flight
                )
                for _, result in started:
                    yield result.result()
            finally:  # threads end with the calls that they wait for
                threads.shutdown(wait=False, cancel_futures=True)
                for actor in self._actors:
                    self._ray.kill(actor)

    def _result(self, job: VideoJob) -> VideoResult:
        """The result of a job, which starts again where the cluster loses its actor or its frames."""
        for _ in range(MAX_TRIES - 1):
            with suppress(self._ray.exceptions.RayError):
                return self._try(job)
        try:
            return self._try(job)
        except self._ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            raise StriveError(
                f"the Ray cluster lost {job.name} {MAX_TRIES} times ({reason}): check its machines, then "
                "start the same command again"
            ) from error

    def _try(self, job: VideoJob) -> VideoResult:
        with self._decoders.one() as decoder:
            status, frames = decoder.decode.options(num_returns=2).remote(job.path)
            decoded: float | SampleError = got(self._ray, status)
        if isinstance(decoded, SampleError):
            return VideoResult(job=job, results=tuple(failed_row(row, "decode", decoded) for row in job.rows))
        with self._scorers.one() as scorer:
            result: VideoResult = got(self._ray, scorer.score.remote(job, frames, decoded))
        return result


def got(ray: Any, reference: Any) -> Any:
    """`ray.get`. Raises the StriveError that the code of an actor raised; RayError for what Ray lost, also if
    it was an argument of the call; RuntimeError for any other error of an actor."""
    errors = ray.exceptions
    try:
        return ray.get(reference)
    except errors.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, (errors.RayError, StriveError)):
            raise cause from None
        raise RuntimeError(f"an actor failed:\n{error}") from error
