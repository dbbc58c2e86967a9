"""What made a build: settings, versions and inputs, as written to `run.json`."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from strive_data import __version__
from strive_data.common.settings import as_dict, fingerprint
from strive_data.common.stopwatch import Seconds
from strive_data.config import BuildSettings
from strive_data.schema import SCHEMA_VERSION
from strive_data.shards.checksums import FILES

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
    failures: Mapping[str, int] | None = None,
    stage_seconds: Seconds | None = None,
    versions: Mapping[str, str | None] | None = None,
    files: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The body of `run.json`: everything that the bytes of a build depend on, its counts, hashes and seconds.

    `inputs` are hashes and `recipes` names of recipes, by the path of the annotation file; `failures` are
    counted by kind; `files` are the sha256 of each file of the build by name. `seconds` (wall clock) and
    `stage_seconds` (by stage, summed over processes) are those of the last start: with `sha256`, the seal
    over all, they alone differ between builds of the same input.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "settings": as_dict(settings),
        "settings_fingerprint": fingerprint(settings),
        "inputs_sha256": dict(inputs),
        "recipes": dict(recipes or {}),
        "versions": dict(versions or package_versions()),
        "counts": dict(counts),
        "failures_by_kind": dict(sorted((failures or {}).items())),
        FILES: dict(files or {}),
        "seconds": round(seconds, 3),
        "stage_seconds": {stage: round(spent, 3) for stage, spent in (stage_seconds or {}).items()},
    }


def package_versions() -> dict[str, str | None]:
    """Versions of this package, of Python and of what the stages use; None for one not installed."""
    versions: dict[str, str | None] = {"strive": __version__, "python": platform.python_version()}
    return versions | {name: _version(name) for name in PACKAGES}


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
