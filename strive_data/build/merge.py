"""Join finished builds of equal settings into one: shards unchanged under new numbers, and all tables.

The builds hold different samples: an id that two of them hold is refused. Everything is written into a hidden
folder beside the output, run.json last; then the folder is renamed (`new_folder`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from strive_data.build.progress import Observe
from strive_data.build.verify import file_problems, read_record
from strive_data.common.files import CHECKSUM_KEY, file_sha256, new_folder, replacing, write_json
from strive_data.common.settings import differences, identity
from strive_data.common.text import plural, some
from strive_data.config import BuildSettings
from strive_data.errors import DamagedError, FailureKind, UsageError
from strive_data.shards.build_state import BuildState, read_build_state, start_build
from strive_data.shards.manifest import (
    FAILURES_FILE,
    Manifest,
    PartFile,
    TrailingFailures,
    as_body,
    manifest_name,
    part_name,
    shard_name,
)
from strive_data.shards.run_file import FILES, require_several
from strive_data.shards.writer import SCHEMAS, finalize, write_table

LISTED = 5


class Part(NamedTuple):
    """A finished build to be joined: `run` is its run.json."""

    folder: Path
    run: Mapping[str, Any]
    settings: BuildSettings
    state: BuildState


def merge_builds(
    folders: Sequence[Path], out: Path, *, observe: Observe | None = None
) -> tuple[dict[str, int], int]:
    """Join finished builds of equal settings into the new folder `out`.

    Shards keep their bytes, in the order of `folders`, under new numbers: as hard links if the file system
    has them, otherwise as copies. Equal parts in the same order give equal bytes. Returns the counts of the
    joined run.json, and how many failed rows were dropped because another part has their sample.

    Raises UsageError for folders that are not builds, different settings, an output in use, and a sample id
    that two builds hold; DamagedError if a checksum of a part differs; StriveError if the output cannot be
    written.
    """
    require_several(folders, out)
    parts = [read_part(folder) for folder in folders]
    require_same_settings(parts)
    require_different_samples(parts)
    with new_folder(out) as hidden:
        return _write_build(parts, hidden, observe)


def read_part(folder: Path) -> Part:
    """The build in `folder`; checks the hashes of tables and manifests, and reads no shard.

    Raises UsageError if it is not a finished build, DamagedError if a checksum differs.
    """
    run, settings = read_record(folder)
    if problems := list(file_problems(folder, run)):
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise DamagedError(f"{folder}/{problems[0]}{more}: `strive-data verify {folder}` lists all")
    return Part(folder, run, settings, read_build_state(folder, settings))


def require_same_settings(parts: Sequence[Part]) -> None:
    """Raise UsageError that names every setting in which a build differs from the first."""
    first, *others = parts
    for other in others:
        if changed := differences(identity(first.settings), identity(other.settings)):
            raise UsageError(
                f"builds of different settings cannot be joined: {first.folder} has {'; '.join(changed)}, in "
                f"{other.folder}; build one of them again"
            )


def require_different_samples(parts: Sequence[Part]) -> None:
    """Raise UsageError that names sample ids which several builds hold."""
    owner: dict[str, Part] = {}
    repeated = []
    for part in parts:
        for sample_id in part.state.done:
            if (first := owner.setdefault(sample_id, part)) is not part:
                repeated.append(f"{sample_id!r} in {first.folder} and {part.folder}")
    if repeated:
        raise UsageError(
            f"{plural(len(repeated), 'sample id')} in several builds: {some(repeated, LISTED, '; ')}; give "
            "each row to one build, and build the others without it"
        )


def _write_build(parts: Sequence[Part], out: Path, observe: Observe | None) -> tuple[dict[str, int], int]:
    """Write the joined build in the order of a build: build.json, shards, tables, run.json."""
    first = parts[0]
    attempt = max(part.state.attempt for part in parts)
    # A part in run.json and build.json; its run.json is identified by its hash.
    unlisted = ("settings", FILES, CHECKSUM_KEY)
    records = tuple(
        {"folder": part.folder.name, "run_sha256": part.run.get(CHECKSUM_KEY)}
        | {name: value for name, value in part.run.items() if name not in unlisted}
        for part in parts
    )
    state = BuildState(versions=first.state.versions, parts=records)
    start_build(out, first.settings, state, attempt)
    moves = [(part.folder, manifest) for part in parts for manifest in part.state.manifests]
    manifests: list[Manifest] = []
    for source, manifest in moves:
        manifests.append(move_shard(manifest, shard_name(len(manifests)), source, out))
        if observe:
            observe(len(manifests), len(moves), sum(moved.size_bytes for moved in manifests))
    rows = tuple(row for part in parts for row in part.state.trailing.failures)
    trailing = TrailingFailures(shards=len(manifests), attempt=attempt, failures=rows)
    state = state.with_records(manifests, trailing)
    failures, resolved = join_failures([part.folder for part in parts], set(state.done))
    inputs = {path: digest for part in reversed(parts) for path, digest in part.run["inputs_sha256"].items()}
    counts = finalize(
        out,
        first.settings,
        state,
        failures,
        inputs=dict(sorted(inputs.items())),
        # The time that the parts took, so that the bytes do not depend on the time of the merge.
        seconds=sum(float(part.run["seconds"]) for part in parts),
    )
    return counts, resolved


def join_failures(folders: Sequence[Path], samples: set[str]) -> tuple[pl.DataFrame, int]:
    """Failed rows of all parts, equal ones once, and the number dropped because a part has their sample."""
    rows = pl.concat([pl.read_parquet(folder / FAILURES_FILE) for folder in folders])
    rows = rows.unique(maintain_order=True)
    repeated_id = pl.col("kind") == FailureKind.DUPLICATE_ID.value
    left = rows.filter(repeated_id | ~pl.col("sample_id").is_in(list(samples)))
    return left, rows.height - left.height


def move_shard(manifest: Manifest, shard: str, source: Path, out: Path) -> Manifest:
    """Bring a shard, its table rows and its manifest from `source` to `out` as `shard`; its new manifest."""
    parts: dict[str, PartFile] = {}
    for table, schema in SCHEMAS.items():
        old, new = part_name(manifest.shard, table), part_name(shard, table)
        if manifest.shard == shard or "shard" not in schema:
            parts[new] = manifest.parts[old]
            _link_or_copy(source / old, out / new)
        else:
            write_table(out / new, pl.read_parquet(source / old).with_columns(shard=pl.lit(shard)))
            parts[new] = PartFile(size_bytes=(out / new).stat().st_size, sha256=file_sha256(out / new))
    _link_or_copy(source / manifest.shard, out / shard)
    moved = replace(manifest, shard=shard, parts=parts)
    write_json(out / manifest_name(shard), as_body(moved))
    return moved


def _link_or_copy(old: Path, new: Path) -> None:
    try:
        os.link(old.resolve(), new)
    except OSError:  # another file system, or one without links
        with replacing(new) as temporary:
            shutil.copyfile(old, temporary)
