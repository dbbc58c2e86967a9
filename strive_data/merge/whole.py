"""The order in which builds are joined. Nothing is seen at the goal until all of it is there.

Everything is written into a hidden folder beside the goal, run.json last, and the folder gets its name in the
end. What an interrupted merge left there is thrown away by the next.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.common.files import sync_folder, write_json
from strive_data.errors import FailureKind, StriveError, UsageError
from strive_data.merge.plan import Duplicates, Part, Plan, plan_merge, read_part, require_same_settings
from strive_data.merge.shard import move_shard
from strive_data.schema import FAILURES_TABLE
from strive_data.shards.build_state import PARTS, TAIL_FILE, BuildState, start_build
from strive_data.shards.checksums import CHECKSUM_KEY, FILES, add_checksum, file_hashes
from strive_data.shards.finalize import counts_of, files_of
from strive_data.shards.manifest import Manifest, TrailingFailures, as_body, index_of
from strive_data.shards.provenance import run_record
from strive_data.shards.reader import INDEX_FILE, RUN_FILE
from strive_data.shards.tables import FAILURES_FILE, SAMPLES_FILE, gather_parts, write_table

# The failures of all parts together.


def join_failures(folders: Sequence[Path], samples: pl.LazyFrame) -> tuple[pl.DataFrame, int]:
    """Failures of all parts, equal ones once, and how many went because another part has the sample."""
    tables = [pl.read_parquet(folder / FAILURES_FILE) for folder in folders]
    rows = pl.concat([pl.DataFrame(schema=FAILURES_TABLE), *tables]).unique(maintain_order=True)
    held = rows.lazy().join(samples.select("sample_id"), on="sample_id", how="semi").collect()["sample_id"]
    again = pl.col("kind") == FailureKind.DUPLICATE_ID.value
    left = rows.filter(again | ~pl.col("sample_id").is_in(held.unique().to_list()))
    return left, rows.height - left.height


Observe = Callable[[int, int, int], None]
"""Told (shards done, shards in all, bytes done) after each shard."""


@dataclass(frozen=True, kw_only=True)
class MergeSummary:
    """What a joined build holds; `twice` samples stood in several parts with the same bytes and were taken
    once, `clashes` name those with other bytes in a later part, which were dropped; `resolved` failures went
    because another part has their sample."""

    samples: int
    videos: int
    tried_videos: int
    shards: int
    failures: int
    twice: int
    clashes: tuple[str, ...]
    resolved: int


def merge_builds(
    folders: Sequence[Path],
    out: Path,
    *,
    duplicates: Duplicates = "refuse",
    copy: bool = False,
    observe: Observe | None = None,
) -> MergeSummary:
    """Join finished builds of equal settings into the new folder `out`.

    Shards keep their bytes, in the order of `folders`, under new numbers: as hard links where the file system
    allows, else, or with `copy`, as copies. Only a shard that loses samples which an earlier part has is
    written anew. Equal parts in the same order give equal bytes.

    Raises UsageError for folders that are no builds, other settings, a goal that is in use, and for one id
    with different content (`duplicates`); DamagedError where a checksum of a part differs; StriveError where
    the goal cannot be written.
    """
    _check(folders, out)
    parts = [read_part(folder) for folder in folders]
    require_same_settings(parts)
    manifests, names = [part.ledger.manifests for part in parts], [str(part.folder) for part in parts]
    plan = plan_merge(manifests, names, duplicates)
    hidden = out.with_name(f".{out.name}.merging")
    try:
        if hidden.exists():
            shutil.rmtree(hidden)
        hidden.mkdir(parents=True)
        summary = _write(parts, plan, hidden, copy=copy, observe=observe)
        sync_folder(hidden)
        hidden.replace(out)
        sync_folder(out.parent)
    except OSError as error:
        raise StriveError(
            f"--out {out}: cannot write: {error.strerror or error}; make room, or name another folder, and "
            "run the same command again"
        ) from error
    return summary


def _check(folders: Sequence[Path], out: Path) -> None:
    if len(folders) < 2:
        raise UsageError(f"got {len(folders)} build, expected two or more to join")
    real = [folder.resolve() for folder in folders]
    if len(set(real)) < len(real):
        raise UsageError("one build is named twice; name each once")
    if any(out.resolve() == folder or folder in out.resolve().parents for folder in real):
        raise UsageError(f"--out {out} lies in one of the builds; name a new folder")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} is not an empty folder: name a new folder, or remove this one first")


def _write(
    parts: Sequence[Part], plan: Plan, out: Path, *, copy: bool, observe: Observe | None
) -> MergeSummary:
    """Write all of the joined build, in the order of a build: build.json, shards, tables, run.json."""
    settings, first = parts[0].record.settings, parts[0].ledger
    attempt = max(part.ledger.attempt for part in parts)
    provenance = tuple(_provenance(part) for part in parts)
    start_build(out, settings, BuildState(versions=first.versions, parts=provenance), attempt)
    manifests: list[Manifest] = []
    for move in plan.moves:
        manifests.append(move_shard(move, parts[move.part].folder, out, copy=copy))
        if observe:
            observe(len(manifests), len(plan.moves), sum(m.size_bytes for m in manifests))
    lost = (*plan.lost, *(each for part in parts for each in part.ledger.tail.failures))
    if lost:
        write_json(
            out / TAIL_FILE, as_body(TrailingFailures(shards=len(manifests), attempt=attempt, failures=lost))
        )
    gather_parts(out, [manifest.shard for manifest in manifests], out)
    write_table(out / INDEX_FILE, index_of(manifests))
    samples = pl.scan_parquet(out / SAMPLES_FILE)
    failures, resolved = join_failures([part.folder for part in parts], samples)
    write_table(out / FAILURES_FILE, failures)
    counts = counts_of(out, manifests)
    record = _record(parts, counts, Counter(failures["kind"]), file_hashes(out, files_of(out, manifests)))
    write_json(out / RUN_FILE, add_checksum(record | {PARTS: list(provenance)}))
    return MergeSummary(
        samples=counts["samples"],
        videos=counts["videos"],
        tried_videos=counts["tried_videos"],
        shards=len(manifests),
        failures=failures.height,
        twice=sum(len(dropped) for dropped in plan.dropped) - len(plan.clashes),
        clashes=plan.clashes,
        resolved=resolved,
    )


def _record(
    parts: Sequence[Part], counts: Mapping[str, int], kinds: Mapping[str, int], files: Mapping[str, str]
) -> dict[str, Any]:
    """run.json of the joined build, but for the records of its parts.

    `seconds` are those that the parts took to build, so that a merge has no time of its own in its bytes.
    """
    inputs: dict[str, str] = {}
    for part in reversed(parts):
        inputs |= part.run["inputs_sha256"]
    return run_record(
        parts[0].record.settings,
        dict(sorted(inputs.items())),
        counts,
        sum(float(part.run["seconds"]) for part in parts),
        failures=kinds,
        versions=parts[0].ledger.versions,
        files=files,
    )


def _provenance(part: Part) -> dict[str, Any]:
    """The record of a part; its hash stands for its files. `build.json` has it too, so that it stays in
    `run.json` when rows are added to the joined build."""
    known = {name: value for name, value in part.run.items() if name not in ("settings", FILES, CHECKSUM_KEY)}
    return {"folder": part.folder.name, "run_sha256": part.run.get(CHECKSUM_KEY), **known}
