"""Finished builds made of hand-made samples, without decoding or scoring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from strive_data.config import BuildSettings
from strive_data.provenance import run_record
from strive_data.schema import Failure, Sample
from strive_data.shard_writer import OpenShard, index_of, write_json
from strive_data.shards import INDEX_FILE, RUN_FILE
from strive_data.tables import FAILURES_FILE, failures_table, gather_parts, write_parts


def write_build(
    folder: Path,
    samples: Sequence[Sample],
    *,
    failures: Sequence[Failure] = (),
    settings: BuildSettings | None = None,
) -> Path:
    """A build of one shard, as `strive-data build` leaves it; returns its folder."""
    folder.mkdir(parents=True)
    parts = folder / "parts"
    parts.mkdir()
    shard = OpenShard(folder, 0, "settings")
    for sample in samples:
        shard.add(sample)
    write_parts(parts, shard.name, samples)
    gather_parts(parts, [shard.name], folder)
    index_of([shard.commit()]).write_parquet(folder / INDEX_FILE)
    failures_table(failures).write_parquet(folder / FAILURES_FILE)
    counts = {"samples": len(samples), "videos": 1, "shards": 1, "failures": len(failures)}
    write_json(folder / RUN_FILE, run_record(settings or BuildSettings(), {}, counts, 1.0))
    return folder
