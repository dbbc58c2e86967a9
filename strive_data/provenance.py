"""What made a build: settings, versions and inputs, as written to `run.json`."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from strive_data import __version__
from strive_data.config import BuildSettings
from strive_data.schema import SCHEMA_VERSION
from strive_data.settings import as_dict, fingerprint

PACKAGES = (
    "av",
    "decord",
    "numpy",
    "open-clip-torch",
    "polars",
    "simplejpeg",
    "torch",
    "torchvision",
    "transformers",
    "webdataset",
)


def run_record(
    settings: BuildSettings,
    inputs: Mapping[str, str],
    counts: Mapping[str, int],
    seconds: float,
    *,
    recipes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The body of `run.json`: everything that the bytes of a build depend on, its counts and its seconds.

    `inputs` are hashes and `recipes` names of recipes, by the path of the annotation file.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "settings": as_dict(settings),
        "settings_fingerprint": fingerprint(settings),
        "inputs_sha256": dict(inputs),
        "recipes": dict(recipes or {}),
        "versions": package_versions(),
        "counts": dict(counts),
        "seconds": round(seconds, 3),
    }


def package_versions() -> dict[str, str | None]:
    """Versions of this package, of Python and of what the stages use; None for one not installed."""
    versions: dict[str, str | None] = {"strive": __version__, "python": platform.python_version()}
    return versions | {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
