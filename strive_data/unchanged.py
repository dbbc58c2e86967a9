"""A finished build for which nothing has changed, told without reading a row of its annotation.

Reading 100,000 rows takes seconds, hashing their file none. The answer is the one that reading them gives:
whatever could make it another one (rows, recipe, package, videos that came or went) is looked at, and in any
doubt the rows are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from strive_data import __version__
from strive_data.annotations.videos import VideoFolder
from strive_data.common.storage import place_of
from strive_data.errors import FailureKind, SampleError
from strive_data.plan import GONE
from strive_data.schema import Failure
from strive_data.shards.build_state import BuildState
from strive_data.shards.checksums import FILES, file_sha256
from strive_data.shards.finalize import TABLE_FILES
from strive_data.shards.reader import read_run
from strive_data.shards.tables import FAILURES_FILE


@dataclass(frozen=True, kw_only=True)
class Unchanged:
    """What the finished build holds: the counts of `run.json`, failures in the order of its rows."""

    counts: Mapping[str, int]
    failures: tuple[Failure, ...]


def find_unchanged(
    folder: Path,
    ledger: BuildState,
    annotations: Sequence[Path | str],
    data_root: Path | str,
    *,
    recipe: str | None,
) -> Unchanged | None:
    """What the build in `folder` holds, if the same command would leave it as it is; None: read the rows.

    So it is for annotations or videos behind a URL: they are to be fetched first.
    A build that was made by a recipe of the package is unchanged for who leaves `recipe` out as well.
    """
    if not (ledger.complete and ledger.done and all((folder / name).is_file() for name in TABLE_FILES)):
        return None
    places = [place_of(annotation) for annotation in annotations]
    paths = [place for place in places if isinstance(place, Path)]
    if len(paths) < len(annotations) or not isinstance(data_root, Path):
        return None
    run = read_run(folder)
    if not (_same_readings(run, paths, recipe) and _same_files(folder, run)):
        return None
    failures = tuple(_read_failures(folder / FAILURES_FILE))
    if not _still_fail(failures, VideoFolder(data_root)):
        return None
    return Unchanged(counts=run["counts"], failures=failures)


def _same_readings(run: Mapping[str, Any], annotations: Sequence[Path], recipe: str | None) -> bool:
    """The same files in the same order, read by the same recipe of the same version of this package."""
    names = list(run["recipes"].values())
    as_asked = all(name == recipe for name in names) if recipe else not any(map(_is_own, names))
    order = [path.as_posix() for path in annotations]
    return as_asked and list(run["recipes"]) == order and run["versions"].get("strive") == __version__


def _same_files(folder: Path, run: Mapping[str, Any]) -> bool:
    """Annotations, recipe files of the user's own, and the table of failures have the bytes that they had."""
    own = {name for name in run["recipes"].values() if _is_own(name)}
    inputs = {*run["recipes"], *own}
    try:
        now = {name: file_sha256(Path(name)) for name in inputs}
        failures_sha256 = file_sha256(folder / FAILURES_FILE)
    except OSError:  # reading the rows says what is wrong with the file
        return False
    return bool(now == run["inputs_sha256"] and failures_sha256 == run[FILES].get(FAILURES_FILE))


def _still_fail(failures: Sequence[Failure], videos: VideoFolder) -> bool:
    """Whether each row would fail as it did: videos that were missing may be there, and others be gone."""
    if any(failure.kind in GONE for failure in failures):
        return False
    try:
        for failure in failures:
            if failure.stage != "annotation":
                videos.find(failure.video)
    except SampleError:
        return False
    return True


def _read_failures(path: Path) -> list[Failure]:
    rows = pl.read_parquet(path).iter_rows(named=True)
    return [Failure(**row | {"kind": FailureKind(row["kind"])}) for row in rows]


def _is_own(recipe: str) -> bool:
    return recipe.endswith(".toml")
