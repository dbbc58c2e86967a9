"""Engines by name."""

from __future__ import annotations

from pathlib import Path

from strive_data.config import BuildSettings
from strive_data.engines.engine import Engine
from strive_data.engines.machine import LocalEngine
from strive_data.settings import choose

ENGINES = ("local",)


def make_engine(name: str, settings: BuildSettings, *, workers: int = 0, cache: Path | None = None) -> Engine:
    """The engine of that name, ready. `workers` are its decoding processes, 0 for one a core; `cache` is a
    folder where decoded and embedded videos are kept for later builds (cache.py).

    Raises SettingsError for an unknown name and what the settings do not allow, UsageError for a scorer or
    cache folder that cannot be had.
    """
    choose(name, ENGINES, "engine")
    return LocalEngine(settings, workers=workers, cache=cache)
