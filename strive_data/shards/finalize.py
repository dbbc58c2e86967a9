"""A finished build at a path or URL → a folder of this machine, for who reads tables or every byte."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from strive_data.annotations.read import Annotations
from strive_data.common.files import sync_folder, write_json
from strive_data.common.stopwatch import Seconds
from strive_data.common.storage import RemoteFolder, open_folder, place_of
from strive_data.config import BuildSettings
from strive_data.errors import StriveError, UsageError
from strive_data.schema import Failure
from strive_data.shards.build_state import BUILD_FILE, PARTS, TAIL_FILE
from strive_data.shards.checksums import add_checksum, file_hashes
from strive_data.shards.manifest import Manifest, TrailingFailures, as_body, index_of, manifest_name
from strive_data.shards.provenance import run_record
from strive_data.shards.reader import INDEX_FILE, RUN_FILE, read_run
from strive_data.shards.tables import (
    FAILURES_FILE,
    FRAMES_FILE,
    SAMPLES_FILE,
    failures_table,
    gather_parts,
    write_table,
)

# The end of a build: the parts joined to tables, and `run.json`, whose presence says that all is there.

TABLE_FILES = (SAMPLES_FILE, FRAMES_FILE, FAILURES_FILE, INDEX_FILE)


def finalize(
    out: Path,
    rows: Annotations,
    settings: BuildSettings,
    *,
    manifests: Sequence[Manifest],
    tail: TrailingFailures,
    failures: Sequence[Failure],
    versions: Mapping[str, str | None],
    seconds: float,
    stage_seconds: Seconds,
    parts: Sequence[Mapping[str, Any]] = (),
) -> dict[str, int]:
    """Write what remains, each file whole, `run.json` last; its counts. Can be done again at any time.

    `versions` are those that the build was begun with, `parts` the builds that it was joined from, if it was.
    """
    (out / TAIL_FILE).unlink(missing_ok=True)
    if tail.failures:
        write_json(out / TAIL_FILE, as_body(tail))
    gather_parts(out, [manifest.shard for manifest in manifests], out)
    write_table(out / FAILURES_FILE, failures_table(failures))
    write_table(out / INDEX_FILE, index_of(manifests))
    counts = counts_of(out, manifests)
    record = run_record(
        settings,
        rows.input_sha256,
        counts,
        seconds,
        recipes={path: reading.recipe for path, reading in rows.readings.items()},
        stage_seconds=stage_seconds,
        versions=versions,
        failures=Counter(str(failure.kind) for failure in failures),
        files=file_hashes(out, files_of(out, manifests)),
    )
    if parts:
        record[PARTS] = list(parts)
    sync_folder(out)
    write_json(out / RUN_FILE, add_checksum(record))
    sync_folder(out)
    return counts


def files_of(out: Path, manifests: Sequence[Manifest]) -> list[str]:
    """Names of all files of a build but its tars, whose hashes are in the manifests, and `run.json`."""
    of_shards = [name for manifest in manifests for name in (manifest_name(manifest.shard), *manifest.parts)]
    tail = [TAIL_FILE] if (out / TAIL_FILE).is_file() else []
    return [*TABLE_FILES, BUILD_FILE, *tail, *of_shards]


def counts_of(out: Path, manifests: Sequence[Manifest]) -> dict[str, int]:
    """What the build holds, by its manifests and tables: it does not depend on how often it was interrupted.

    `videos` are those that samples come from, `tried_videos` these and those of rows that were tried in vain,
    also where their files are gone since; `candidates` are rows of the frames table (frames scored), `frames`
    those stored as JPEG.
    """
    samples, failures = pl.scan_parquet(out / SAMPLES_FILE), pl.scan_parquet(out / FAILURES_FILE)
    stored = samples.select(
        candidates=pl.col("candidates").cast(pl.Int64).sum(), frames=pl.col("stored").cast(pl.Int64).sum()
    )
    candidates, frames = stored.collect().row(0)
    tried = failures.filter(pl.col("stage") != "annotation").select("video")
    sampled = samples.select("video")
    videos, tried_videos = (_distinct(rows) for rows in (sampled, pl.concat([sampled, tried])))
    return {
        "samples": sum(len(manifest.samples) for manifest in manifests),
        "videos": videos,
        "tried_videos": tried_videos,
        "shards": len(manifests),
        "failures": failures.select(pl.len()).collect().item(),
        "candidates": candidates,
        "frames": frames,
        "bytes": sum(manifest.size_bytes for manifest in manifests),
    }


def _distinct(rows: pl.LazyFrame) -> int:
    count: int = rows.unique().select(pl.len()).collect().item()
    return count


TABLES_AND_RECORD = frozenset({*TABLE_FILES, BUILD_FILE, RUN_FILE})
TRANSFERS = 16


@contextmanager
def local_copy(where: str | Path, *, tables_only: bool) -> Iterator[Path]:
    """The build's folder; of one behind a URL a copy that is there as long as the block runs.

    Raises UsageError for a URL where there is no finished build, StriveError where the disk has no room.
    """
    remote = open_folder(where)
    if not isinstance(remote, RemoteFolder):
        yield Path(str(remote))
        return
    read_run(remote)
    wanted = {
        name: size for name, size in remote.sizes().items() if not tables_only or name in TABLES_AND_RECORD
    }
    with TemporaryDirectory(prefix="strive-copy-") as folder:
        _require_room(remote, sum(wanted.values()), Path(folder))
        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(lambda name: remote.fetch(name, Path(folder) / name), wanted))
        yield Path(folder)


def is_remote(where: str) -> bool:
    """Whether it is the URL of another storage. Raises UsageError as `place_of`."""
    return isinstance(place_of(where), str)


def local_folder(where: str) -> Path:
    """The folder of a command that reads folders of this machine only. Raises UsageError for a URL."""
    place = place_of(where)
    if isinstance(place, str):
        raise UsageError(f"{place}: this command reads folders of this machine; copy the build to one first")
    return place


def _require_room(remote: RemoteFolder, size_bytes: int, folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if size_bytes > free_bytes:
        raise StriveError(
            f"{remote}: {size_bytes} bytes are to be read, and {folder.parent} has room for {free_bytes}: "
            "free space, or set TMPDIR to a larger disk"
        )
