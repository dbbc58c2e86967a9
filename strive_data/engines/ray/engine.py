"""The Ray engine: videos decoded and scored on a cluster, their results in order to the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from strive_data.config import BuildSettings, ClusterOptions, DecodeSettings
from strive_data.decode import read_candidates
from strive_data.engines.engine import VideoJob, VideoResult
from strive_data.engines.ray.cluster import connected, import_ray
from strive_data.engines.ray.flow import Actors, Flow, got
from strive_data.engines.ray.hosts import DecodeHost, ScoreHost
from strive_data.engines.results import Video
from strive_data.errors import UsageError
from strive_data.shards.provenance import package_versions


class RayEngine:
    """Decodes and scores in actors of a cluster, whose machines read videos, weights and cache by the same
    paths as this one, or by URL.

    `workers` are decoding actors (0: one a CPU that is left), of which each keeps its video in a process
    that can be killed, with the limits of the settings. Bits do not depend on which actor scores.
    Raises SettingsError and UsageError as the local engine does, and for a cluster that cannot be used.
    """

    def __init__(
        self,
        settings: BuildSettings,
        *,
        options: ClusterOptions,
        workers: int = 0,
        cache: Path | None = None,
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
        """Actors that Ray restarts after a loss; flow.py starts their videos again."""
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
