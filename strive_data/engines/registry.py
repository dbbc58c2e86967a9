"""Engines by name."""

from __future__ import annotations

from pathlib import Path

from strive_data.common.settings import choose, require
from strive_data.config import BuildSettings
from strive_data.engines.engine import Engine
from strive_data.engines.local import LocalEngine
from strive_data.engines.ray import ClusterOptions, RayEngine

ENGINES = ("local", "ray")


def make_engine(
    name: str,
    settings: BuildSettings,
    *,
    workers: int = 0,
    cache: Path | None = None,
    cluster: ClusterOptions | None = None,
) -> Engine:
    """The engine of that name, ready. `workers` are its decoding processes, 0 for one a core; `cache` is a
    folder where decoded and embedded videos are kept for later builds (cache.py); `cluster` is for "ray".

    Raises SettingsError for an unknown name and what the settings do not allow, UsageError for a scorer,
    cache folder or cluster that cannot be had.
    """
    choose(name, ENGINES, "engine")
    if name == "ray":
        return RayEngine(settings, options=cluster or ClusterOptions(), workers=workers, cache=cache)
    given = cluster is not None and cluster != ClusterOptions()
    require(not given, "--ray-address, --scorers and --gpus-per-scorer are for --engine ray")
    return LocalEngine(settings, workers=workers, cache=cache)
