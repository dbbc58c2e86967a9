"""Versions of what made a build, and the hashes that protect its files.

`run.json` holds the sha256 of all tables and manifests, these hold those of the shards, and the last key of
`run.json` holds its own: one flipped byte anywhere in a build breaks a link of that chain.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from strive_data import __version__
from strive_data.common.files import file_sha256, json_bytes

CHECKSUM_KEY = "sha256"
FILES = "files"
PARTS = "parts"
"""Key of the records of the builds that a build was merged from, in run.json and build.json."""
PACKAGES = (
    *("av", "decord", "numpy", "open-clip-torch", "polars", "simplejpeg"),
    *("torch", "torchvision", "transformers", "webdataset"),
)


def package_versions() -> dict[str, str | None]:
    """Versions of this package, of Python and of the packages of all stages; None if not installed."""
    versions: dict[str, str | None] = {"strive": __version__, "python": platform.python_version()}
    return versions | {name: _version(name) for name in PACKAGES}


def file_hashes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """sha256 of each named file of a folder, in the order of the names."""
    return {name: file_sha256(folder / name) for name in sorted(names)}


def add_checksum(body: Mapping[str, Any]) -> dict[str, Any]:
    """The object with the sha256 of its JSON text in a last key."""
    plain = {name: value for name, value in body.items() if name != CHECKSUM_KEY}
    return plain | {CHECKSUM_KEY: sha256(json_bytes(plain)).hexdigest()}


def checksum_matches(content: bytes, body: Mapping[str, Any]) -> bool:
    """Whether `content`, the JSON text of `body`, is byte for byte what was written with its checksum."""
    try:
        return content == json_bytes(add_checksum(body))
    except ValueError:  # NaN or infinity, which are never written
        return False


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
