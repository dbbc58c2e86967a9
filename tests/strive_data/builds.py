"""Finished builds made of hand-made samples, without decoding or scoring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from strive_data.config import BuildSettings
from strive_data.manifest import index_of
from strive_data.provenance import run_record
from strive_data.run_file import write_run
from strive_data.schema import Failure, Sample
from strive_data.settings import fingerprint
from strive_data.shard_writer import OpenShard
from strive_data.shards import INDEX_FILE
from strive_data.tables import FAILURES_FILE, failures_table, gather_parts, write_parts
from tests.strive_data.samples import build_settings


def write_build(
    folder: Path,
    samples: Sequence[Sample],
    *,
    failures: Sequence[Failure] = (),
    settings: BuildSettings | None = None,
    a_shard: int = 1000,
) -> Path:
    """A build of shards of `a_shard` samples, as `strive-data build` leaves it; returns its folder."""
    settings = settings or build_settings()
    parts = folder / "parts"
    parts.mkdir(parents=True)
    manifests = []
    for start in range(0, max(len(samples), 1), a_shard):
        held = samples[start : start + a_shard]
        shard = OpenShard(folder, len(manifests), fingerprint(settings))
        for sample in held:
            shard.add(sample)
        write_parts(parts, shard.name, held)
        manifests.append(shard.commit())
    gather_parts(parts, [manifest.shard for manifest in manifests], folder)
    for part in parts.iterdir():
        part.unlink()
    parts.rmdir()
    index_of(manifests).write_parquet(folder / INDEX_FILE)
    failures_table(failures).write_parquet(folder / FAILURES_FILE)
    videos = {sample.meta.question.video for sample in samples}
    videos |= {failure.video for failure in failures if failure.stage != "annotation"}
    counts = {
        "samples": len(samples),
        "videos": len(videos),
        "shards": len(manifests),
        "failures": len(failures),
    }
    write_run(folder, run_record(settings, {}, counts, 1.0))
    return folder
