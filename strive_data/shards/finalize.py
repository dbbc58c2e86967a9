"""Finish a build: join the parts to tables, then write `run.json`. Copy a finished build from a URL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from strive_data.common.files import sync_folder, write_json
from strive_data.common.settings import as_dict, fingerprint
from strive_data.common.storage import RemoteFolder, open_folder, require_room
from strive_data.config import BuildSettings
from strive_data.schema import SCHEMA_VERSION
from strive_data.shards.build_state import BuildState
from strive_data.shards.manifest import (
    BUILD_FILE,
    FAILURES_FILE,
    FILES,
    INDEX_FILE,
    PARTS,
    RUN_FILE,
    SAMPLES_FILE,
    TABLE_FILES,
    TRAILING_FILE,
    add_checksum,
    as_body,
    file_hashes,
    index_of,
    manifest_name,
    package_versions,
)
from strive_data.shards.reader import read_run
from strive_data.shards.writer import join_parts, write_table

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
    stage_seconds: Mapping[Any, float] | None = None,
) -> dict[str, int]:
    """Write tail.json, tables and `run.json`, each file whole; returns the counts of `run.json`.

    It can be repeated at any time. `failures` is their table; `inputs` are sha256 and `recipes` names of
    recipes, by path of the annotation file. `seconds` (wall clock) and `stage_seconds` (by stage, summed over
    processes) are those of the last start. They and the checksum are all that differs between builds of
    equal input. `run.json` lists the sha256 of all files but itself and the tars, which manifests protect.
    """
    manifests, files = state.manifests, [*TABLE_FILES, BUILD_FILE]
    if state.trailing.failures:
        write_json(out / TRAILING_FILE, as_body(state.trailing))
        files.append(TRAILING_FILE)
    else:
        (out / TRAILING_FILE).unlink(missing_ok=True)
    join_parts(out, [manifest.shard for manifest in manifests])
    write_table(out / FAILURES_FILE, failures)
    write_table(out / INDEX_FILE, index_of(manifests))
    counts = counts_of(
        out,
        samples=sum(len(manifest.samples) for manifest in manifests),
        shards=len(manifests),
        size_bytes=sum(manifest.size_bytes for manifest in manifests),
    )
    files += [name for manifest in manifests for name in (manifest_name(manifest.shard), *manifest.parts)]
    body = {
        "schema_version": SCHEMA_VERSION,
        "settings": as_dict(settings),
        "settings_fingerprint": fingerprint(settings),
        "inputs_sha256": dict(inputs),
        "recipes": dict(recipes or {}),
        "versions": dict(state.versions or package_versions()),
        "counts": counts,
        "failures_by_kind": dict(sorted(Counter(failures["kind"]).items())),
        FILES: file_hashes(out, files),
        "seconds": round(seconds, 3),
        "stage_seconds": {stage: round(spent, 3) for stage, spent in (stage_seconds or {}).items()},
    }
    sync_folder(out)
    write_json(out / RUN_FILE, add_checksum(body | ({PARTS: list(state.parts)} if state.parts else {})))
    sync_folder(out)
    return counts


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
        require_room(str(remote), sum(wanted.values()), Path(folder))
        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(lambda name: remote.fetch(name, Path(folder) / name), wanted))
        yield Path(folder)
