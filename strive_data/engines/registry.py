"""Engines by name. An engine is imported when it is made: Ray costs a second, PyAV and torch more."""

from __future__ import annotations

from pathlib import Path

from strive_data.common.settings import choose, require
from strive_data.config import ENGINES, BuildSettings, ClusterOptions
from strive_data.engines.engine import Engine


def make_engine(
    name: str,
    settings: BuildSettings,
    *,
    workers: int = 0,
    cache: Path | None = None,
    cluster: ClusterOptions | None = None,
) -> Engine:
    """The engine of that name, ready to run.

    `workers` is the number of decoding processes, 0 for one a core; `cache` a folder that keeps decoded and
    embedded videos for later builds (cache.py); `cluster` is for "ray".
    Raises SettingsError for an unknown name and for what the settings do not allow, UsageError for a scorer,
    cache folder or cluster that is not available.
    """
    choose(name, ENGINES, "engine")
    cluster = cluster or ClusterOptions()
    if name == "ray":
        from strive_data.engines.ray import RayEngine

        return RayEngine(settings, options=cluster, workers=workers, cache=cache)
    require(cluster == ClusterOptions(), "--ray-address, --scorers and --gpus-per-scorer need --engine ray")
    from strive_data.engines.local import LocalEngine

    return LocalEngine(settings, workers=workers, cache=cache)
