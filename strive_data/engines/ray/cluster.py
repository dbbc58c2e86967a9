"""The connection to a Ray cluster, and how many actors its machines have room for."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from strive_data.config import ClusterOptions
from strive_data.errors import UsageError

# Set before Ray is imported: nothing is sent to its makers, and actors without GPU see none.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@dataclass(frozen=True, kw_only=True)
class ActorCounts:
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
    ray = import_ray()
    with _signals_kept():
        _connect(ray, options, workers)
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


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes over SIGTERM, which the build answers by itself (`terminable`)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
