"""The end of a build: the parts joined to tables, and `run.json`, whose presence says that all is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.annotations import Annotations
from strive_data.atomic import sync_folder, write_json
from strive_data.config import BuildSettings
from strive_data.ledger import BUILD_FILE, PARTS, TAIL_FILE
from strive_data.manifest import Manifest, Tail, as_body, index_of, manifest_name
from strive_data.provenance import run_record
from strive_data.schema import Failure
from strive_data.seal import file_hashes, seal
from strive_data.shards import INDEX_FILE, RUN_FILE
from strive_data.stopwatch import Seconds
from strive_data.tables import (
    FAILURES_FILE,
    FRAMES_FILE,
    SAMPLES_FILE,
    failures_table,
    gather_parts,
    write_table,
)

TABLE_FILES = (SAMPLES_FILE, FRAMES_FILE, FAILURES_FILE, INDEX_FILE)


def finish(
    out: Path,
    rows: Annotations,
    settings: BuildSettings,
    *,
    manifests: Sequence[Manifest],
    tail: Tail,
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
    write_json(out / RUN_FILE, seal(record))
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
