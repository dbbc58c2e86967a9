"""The Ray engine: decoding actors on CPUs, scoring actors on GPUs or CPUs; the driver gets results in order.

`DecodeHost` and `ScoreHost` are plain classes without Ray, which live on the machines of the cluster;
`RayEngine` makes actors of them, and `Flow` sends the videos through them, a bounded number at once. Frames
go from the actor that decoded them to the one that scores them through the cluster's object store; the driver
sees references, and in the end samples. A lost actor is paused until Ray has restarted it on a machine with
room; its video is decoded again by another actor.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from strive_data.config import BuildSettings, ClusterOptions, DecodeSettings
from strive_data.decode import read_candidates
from strive_data.engines.cache import VideoCache
from strive_data.engines.decode_pool import DecodingPool, TimedRead
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
        """Actors that Ray restarts after a loss; `Flow` starts their videos again."""
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
        read = self._pool.result(path, self._pool.start(path))
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
        ((decoded, embedded),) = embed_videos([Decoded(job, video, decode_seconds)], self._scorer)
        return video_result(decoded, embedded, self._scorer, self._settings)


CALLS_PER_ACTOR = 2  # one at work and one that waits, so that it is never idle


class Actors:
    """Chooses the actor for the next call: actors of one kind, the calls of each, and which are paused."""

    def __init__(self, actors: Sequence[Any]) -> None:
        self.actors = actors
        self.calls = [0] * len(actors)
        self.paused: set[int] = set()

    def has_room(self) -> bool:
        """Whether an actor can take one more call."""
        return any(self.calls[place] < CALLS_PER_ACTOR for place in self._active())

    def take(self) -> tuple[int, Any]:
        """Give one more call to the actor with the fewest; its place, and the actor."""
        place = min(self._active(), key=self.calls.__getitem__)
        self.calls[place] += 1
        return place, self.actors[place]

    def _active(self) -> list[int]:
        return [place for place in range(len(self.actors)) if place not in self.paused]


MAX_TRIES = 4

Check = Callable[[Mapping[str, str | None]], None]
"""Raises an error if the versions of a machine are not those of this one."""


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """A video in flight: the number of this try, the place of its actor, its frames once decoded."""

    job: VideoJob
    tries: int
    place: int = 0
    frames: Any = None
    decode_seconds: float = 0.0


class Flow:
    """The state between two results; `ray` is the package, actors are those of ray_engine.py."""

    def __init__(self, ray: Any, decoders: Actors, scorers: Actors, check: Check) -> None:
        self._ray, self._check = ray, check
        self._decoders, self._scorers = decoders, scorers
        self._decoding: dict[Any, InFlight] = {}
        self._scoring: dict[Any, InFlight] = {}
        self._paused: dict[Any, tuple[Actors, int]] = {}
        self._retries: deque[InFlight] = deque()
        self._decoded: deque[InFlight] = deque()
        self._done: dict[str, VideoResult] = {}
        self._order: deque[str] = deque()
        self.most_in_flight = CALLS_PER_ACTOR * (len(decoders.actors) + len(scorers.actors))
        """Largest number of videos between the first without a result and the last one started."""

    def run(self, jobs: Iterable[VideoJob]) -> Iterator[VideoResult]:
        """One result for each job, in their order. Raises StriveError if the cluster loses a video MAX_TRIES
        times, and what the code of the actors raises."""
        source = iter(jobs)
        while True:
            self._hand_out(source)
            while self._order and self._order[0] in self._done:
                yield self._done.pop(self._order.popleft())
                self._hand_out(source)
            if not self._order:
                return
            self._wait()

    def _hand_out(self, source: Iterator[VideoJob]) -> None:
        while self._decoded and self._scorers.has_room():
            video, (place, actor) = self._decoded.popleft(), self._scorers.take()
            scored = actor.score.remote(video.job, video.frames, video.decode_seconds)
            self._scoring[scored] = InFlight(job=video.job, tries=video.tries, place=place)
        while self._decoders.has_room() and (next_video := self._next(source)):
            place, actor = self._decoders.take()
            status, frames = actor.decode.options(num_returns=2).remote(next_video.job.path)
            self._decoding[status] = replace(next_video, place=place, frames=frames)

    def _next(self, source: Iterator[VideoJob]) -> InFlight | None:
        """A lost video, or the next one if there is room for its result."""
        if self._retries:
            return self._retries.popleft()
        if len(self._order) >= self.most_in_flight:
            return None
        for job in islice(source, 1):
            self._order.append(job.name)
            return InFlight(job=job, tries=1)
        return None

    def _wait(self) -> None:
        """Wait until a call is done, and process its result."""
        calls = [*self._decoding, *self._scoring, *self._paused]
        ready, _ = self._ray.wait(calls, num_returns=1)
        for reference in ready:
            if reference in self._paused:
                actors, place = self._paused.pop(reference)
                self._check(got(self._ray, reference))
                actors.paused.discard(place)
            elif reference in self._decoding:
                self._take(reference, self._decoding.pop(reference), self._decoders)
            else:
                self._take(reference, self._scoring.pop(reference), self._scorers)

    def _take(self, reference: Any, video: InFlight, actors: Actors) -> None:
        actors.calls[video.place] -= 1
        try:
            answer: float | SampleError | VideoResult = got(self._ray, reference)
        except self._ray.exceptions.RayError as error:
            self._lost(video, actors, error)
            return
        job = video.job
        if isinstance(answer, VideoResult):
            self._done[job.name] = answer
        elif isinstance(answer, SampleError):
            results = tuple(failed_row(row, "decode", answer) for row in job.rows)
            self._done[job.name] = VideoResult(job=job, results=results)
        else:
            self._decoded.append(replace(video, decode_seconds=answer))

    def _lost(self, video: InFlight, actors: Actors, error: Exception) -> None:
        """Start the video again; pause the actor, if the actor was lost."""
        if video.tries >= MAX_TRIES:
            reason = str(error).strip().splitlines()[0]
            raise StriveError(
                f"the Ray cluster lost {video.job.name} {video.tries} times ({reason}): check its machines, "
                "then start the same command again"
            ) from error
        self._retries.append(InFlight(job=video.job, tries=video.tries + 1))
        if isinstance(error, self._ray.exceptions.RayActorError) and video.place not in actors.paused:
            actors.paused.add(video.place)
            # Ray keeps this call until the actor is there again.
            answer = actors.actors[video.place].versions.options(max_task_retries=-1).remote()
            self._paused[answer] = (actors, video.place)


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
