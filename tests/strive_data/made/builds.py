"""Finished builds made of hand-made samples, without decoding or scoring."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from strive_data.common.files import add_checksum, write_json
from strive_data.config import BuildSettings
from strive_data.schema import FailedRow, Sample
from strive_data.shards.build_state import BuildState, start_build
from strive_data.shards.manifest import file_hashes
from strive_data.shards.run_file import FILES, RUN_FILE
from strive_data.shards.writer import ShardStream, failures_table, finalize
from tests.strive_data.made.samples import build_settings


def write_build(
    folder: Path,
    samples: Sequence[Sample],
    *,
    failures: Sequence[FailedRow] = (),
    settings: BuildSettings | None = None,
    a_shard: int | None = None,
) -> Path:
    """A build, in shards of `a_shard` samples, as `strive-data build` leaves it; returns its folder."""
    settings = settings or build_settings()
    if a_shard:
        settings = replace(settings, shard=replace(settings.shard, max_samples=a_shard))
    folder.mkdir(parents=True)
    start_build(folder, settings, BuildState(), 0)
    tried = [failure for failure in failures if failure.stage != "annotation"]
    with ShardStream(folder, settings) as stream:
        for sample in samples:
            stream.write([sample], [])
        stream.finish()
        stream.write(tried, [])
    state = BuildState().at_end(stream.manifests, stream.trailing, 0)
    finalize(folder, settings, state, failures_table(failures), inputs={}, seconds=1.0)
    return folder


def rewrite_run(folder: Path, **changes: object) -> None:
    """Write run.json again, with changes, for the files as they are now: a forgery with a valid checksum."""
    body = json.loads((folder / RUN_FILE).read_text())
    files = [name for name in body[FILES] if (folder / name).is_file()]
    write_json(folder / RUN_FILE, add_checksum(body | changes | {FILES: file_hashes(folder, files)}))
