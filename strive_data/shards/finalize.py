"""Finish a build: join the parts to tables, then write `run.json`. Copy a finished build from a URL."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from strive_data.common.files import sync_folder, write_json
from strive_data.common.stopwatch import Seconds
from strive_data.common.storage import RemoteFolder, open_folder
from strive_data.config import BuildSettings
from strive_data.errors import StriveError
from strive_data.shards.build_state import BuildState
from strive_data.shards.manifest import (
    BUILD_FILE,
    FAILURES_FILE,
    INDEX_FILE,
    RUN_FILE,
    SAMPLES_FILE,
    TABLE_FILES,
    TRAILING_FILE,
    Manifest,
    as_body,
    index_of,
    manifest_name,
)
from strive_data.shards.provenance import file_hashes, package_versions, run_record
from strive_data.shards.reader import read_run
from strive_data.shards.tables import join_parts, write_table

TRANSFERS = 16


def finalize(
    out: Path,
    settings: BuildSettings,
    state: BuildState,
    failures: pl.DataFrame,
    *,
    inputs: Mapping[str, str],
    seconds: float,
    recipes: Mapping[str, str] | None = None,
    stage_seconds: Seconds | None = None,
) -> dict[str, int]:
    """Write tail.json, tables and `run.json`, each file whole; returns the counts of `run.json`.

    It can be repeated at any time. `failures` is their table; `inputs` and `recipes` as for `run_record`.
    """
    if state.trailing.failures:
        write_json(out / TRAILING_FILE, as_body(state.trailing))
    else:
        (out / TRAILING_FILE).unlink(missing_ok=True)
    counts = write_tables(out, state.manifests, failures)
    record = run_record(
        settings,
        inputs,
        counts,
        seconds,
        recipes=recipes,
        stage_seconds=stage_seconds,
        versions=state.versions or package_versions(),
        failures=Counter(failures["kind"]),
        files=file_hashes(out, files_of(out, state.manifests)),
        parts=state.parts,
    )
    sync_folder(out)
    write_json(out / RUN_FILE, record)
    sync_folder(out)
    return counts


def write_tables(out: Path, manifests: Sequence[Manifest], failures: pl.DataFrame) -> dict[str, int]:
    """Write all tables; returns the counts of the build."""
    join_parts(out, [manifest.shard for manifest in manifests])
    write_table(out / FAILURES_FILE, failures)
    write_table(out / INDEX_FILE, index_of(manifests))
    return counts_of(
        out,
        samples=sum(len(manifest.samples) for manifest in manifests),
        shards=len(manifests),
        size_bytes=sum(manifest.size_bytes for manifest in manifests),
    )


def files_of(out: Path, manifests: Sequence[Manifest]) -> list[str]:
    """Names of all files of a build except `run.json` and the tars, whose hashes are in the manifests."""
    of_shards = [name for manifest in manifests for name in (manifest_name(manifest.shard), *manifest.parts)]
    trailing = [TRAILING_FILE] if (out / TRAILING_FILE).is_file() else []
    return [*TABLE_FILES, BUILD_FILE, *trailing, *of_shards]


def counts_of(out: Path, *, samples: int, shards: int, size_bytes: int) -> dict[str, int]:
    """What the build holds, by its shards and tables. Interruptions do not change it.

    `videos` gave samples; `tried_videos` are these and the videos of failed rows that were tried, also if
    their files are missing by now; `candidates` are rows of the frames table (frames scored), `frames` are
    stored as JPEG.
    """
    rows, failures = pl.scan_parquet(out / SAMPLES_FILE), pl.scan_parquet(out / FAILURES_FILE)
    candidates, frames = rows.select(pl.col("candidates", "stored").cast(pl.Int64).sum()).collect().row(0)
    tried = failures.filter(pl.col("stage") != "annotation").select("video")
    return {
        "samples": samples,
        "videos": _distinct(rows.select("video")),
        "tried_videos": _distinct(pl.concat([rows.select("video"), tried])),
        "shards": shards,
        "failures": failures.select(pl.len()).collect().item(),
        "candidates": candidates,
        "frames": frames,
        "bytes": size_bytes,
    }


def _distinct(rows: pl.LazyFrame) -> int:
    count: int = rows.unique().select(pl.len()).collect().item()
    return count


@contextmanager
def local_copy(where: str | Path, *, tables_only: bool) -> Iterator[Path]:
    """The folder of a build; for a URL, a copy that exists while the block runs.

    Raises UsageError for a URL without a finished build, StriveError if the disk has no room.
    """
    remote = open_folder(where)
    if not isinstance(remote, RemoteFolder):
        yield Path(str(remote))
        return
    read_run(remote)
    tables = {*TABLE_FILES, BUILD_FILE, RUN_FILE}
    wanted = {name: size for name, size in remote.sizes().items() if not tables_only or name in tables}
    with TemporaryDirectory(prefix="strive-copy-") as folder:
        _require_room(remote, sum(wanted.values()), Path(folder))
        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(lambda name: remote.fetch(name, Path(folder) / name), wanted))
        yield Path(folder)


def _require_room(remote: RemoteFolder, size_bytes: int, folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if size_bytes > free_bytes:
        raise StriveError(
            f"{remote}: the copy needs {size_bytes} bytes, and {folder.parent} has {free_bytes} bytes free: "
            "free space, or set TMPDIR to a larger disk"
        )
