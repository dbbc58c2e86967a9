"""The `run.json` of a finished build, read without polars and numpy: a wrong folder is refused at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from strive_data import SCHEMA_VERSION
from strive_data.common.files import CHECKSUM_KEY, checksum_matches, near_path
from strive_data.common.storage import Folder, LocalFolder, open_folder, place_of
from strive_data.errors import DamagedError, UsageError

BUILD_FILE = "build.json"
"""Written first: the settings that the build started with."""
RUN_FILE = "run.json"
"""Written last: its presence says that the build is complete."""
PASS_RATES_FILE = "pass_rates.parquet"
"""Written beside a build by `strive-rl probe`; not part of it."""
FILES = "files"
"""Key of the sha256 of the other files."""
SEE_VERIFY = "`strive-data verify` lists all damage"


def require_builds(*places: Path | str) -> None:
    """Raise as `read_run` for each place on this machine; that of a URL is read where it is opened."""
    for place in places:
        if isinstance(place_of(place), Path):
            read_run(place)


def require_started(folder: Path) -> None:
    """Raise UsageError for a folder that holds no build, finished or not."""
    if not folder.is_dir():
        expected = "expected the --out folder of `strive-data build`"
        raise UsageError(f"no such folder: {folder}{near_path(folder)} ({expected})")
    if not any((folder / name).exists() for name in (BUILD_FILE, RUN_FILE)):
        raise UsageError(
            f"{folder} holds no build (no {RUN_FILE}, no {BUILD_FILE}): name the --out folder of "
            "`strive-data build`"
        )


def require_several(folders: Sequence[Path], out: Path) -> None:
    """Raise UsageError where these builds cannot be joined into `out`, by their names alone."""
    if len(folders) < 2:
        raise UsageError(f"got {len(folders)} build, expected two or more to join")
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise UsageError("one build is named twice; name each once")
    if any(out.resolve().is_relative_to(folder) for folder in resolved):
        raise UsageError(f"--out {out} is inside one of the builds; name a new folder")


def read_run(where: Path | str | Folder) -> dict[str, Any]:
    """The `run.json` of a finished build. Raises UsageError if there is none, DamagedError if it changed."""
    folder = open_folder(where)
    path = f"{folder}/{RUN_FILE}"
    if not folder.exists(RUN_FILE):
        if Path(str(where)).is_file():
            raise UsageError(f"{where} is a file, expected a folder that `strive-data build` wrote")
        if not folder.exists():
            hint = near_path(folder.path) if isinstance(folder, LocalFolder) else ""
            raise UsageError(
                f"no such folder: {folder}{hint} (expected a folder that `strive-data build` wrote)"
            )
        raise UsageError(
            f"{folder} has no {RUN_FILE}: it is not a build, or the build is not finished; "
            "run `strive-data build` to its end first"
        )
    content = folder.read(RUN_FILE)
    try:
        run: dict[str, Any] = json.loads(content)
        version = run["schema_version"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is not the {RUN_FILE} of `strive-data build`: restore it from a copy, or remove it and "
            "run the command of the build again, which writes it again"
        ) from error
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has schema version {version}, this package reads {SCHEMA_VERSION}: build again"
        )
    if not isinstance(run.get("settings"), dict):
        raise UsageError(f"{path} is not the {RUN_FILE} of `strive-data build`: it has no settings")
    if CHECKSUM_KEY in run and not checksum_matches(content, run):
        raise DamagedError(f"{path} has changed (its own checksum differs): {SEE_VERIFY}")
    return run
