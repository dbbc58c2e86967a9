"""The order in which builds are joined. Nothing is seen at the goal until all of it is there.

Everything is written into a hidden folder beside the goal, run.json last, and the folder gets its name in the
end. What an interrupted merge left there is thrown away by the next.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.errors import StriveError, UsageError
from strive_data.merge.part import Part, read_part, require_same_settings
from strive_data.merge.plan import Duplicates, Plan, plan_merge
from strive_data.merge.shard import move_shard
from strive_data.merge.tables import join_failures, join_tables
from strive_data.run_file import write_run
from strive_data.schema import INDEX_TABLE
from strive_data.seal import FILES, SEAL
from strive_data.shards import INDEX_FILE
from strive_data.tables import FAILURES_FILE, SAMPLES_FILE

Observe = Callable[[int, int, int], None]
"""Told (shards done, shards in all, bytes done) after each shard."""


@dataclass(frozen=True, kw_only=True)
class MergeSummary:
    """What a joined build holds; `twice` samples stood in several parts and were taken once, `resolved`
    failures went because another part has their sample."""

    samples: int
    videos: int
    shards: int
    failures: int
    twice: int
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
    plan = plan_merge([part.manifests for part in parts], [str(part.folder) for part in parts], duplicates)
    hidden = out.with_name(f".{out.name}.merging")
    try:
        if hidden.exists():
            shutil.rmtree(hidden)
        hidden.mkdir(parents=True)
        summary = _write(parts, plan, hidden, copy=copy, observe=observe)
        _sync(hidden)
        hidden.replace(out)
        _sync(out.parent)
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
    index, done = list[tuple[object, ...]](), 0
    for number, move in enumerate(plan.moves, start=1):
        entries = move_shard(move, parts[move.part].folder, out, copy=copy)
        index += [(e.sample_id, move.shard, e.offset, e.length, e.sha256) for e in entries]
        done += sum(entry.length for entry in entries)
        if observe:
            observe(number, len(plan.moves), done)
    pl.DataFrame(index, schema=INDEX_TABLE, orient="row").write_parquet(out / INDEX_FILE)
    join_tables(parts, plan, out)
    samples = pl.scan_parquet(out / SAMPLES_FILE)
    failures, resolved = join_failures(parts, samples)
    failures.write_parquet(out / FAILURES_FILE)
    tried = failures.lazy().filter(pl.col("stage") != "annotation").select("video")
    videos = pl.concat([samples.select("video"), tried]).unique().select(pl.len()).collect().item()
    counts = {
        "samples": len(index),
        "videos": videos,
        "shards": len(plan.moves),
        "failures": failures.height,
    }
    write_run(out, _record(parts, counts))
    twice = sum(len(dropped) for dropped in plan.dropped)
    return MergeSummary(twice=twice, resolved=resolved, **counts)


def _record(parts: Sequence[Part], counts: dict[str, int]) -> dict[str, Any]:
    """run.json: what all parts share, the new counts, and the record of each part (its hash for its files).

    `seconds` are those that the parts took to build, so that a merge has no time of its own in its bytes.
    """
    first = parts[0].run
    shared = {
        name: first[name] for name in ("schema_version", "settings", "settings_fingerprint", "versions")
    }
    return shared | {
        "counts": counts,
        "seconds": round(sum(float(part.run["seconds"]) for part in parts), 3),
        "parts": [_provenance(part) for part in parts],
    }


def _provenance(part: Part) -> dict[str, Any]:
    known = {name: value for name, value in part.run.items() if name not in ("settings", FILES, SEAL)}
    return {"folder": part.folder.name, "run_sha256": part.run.get(SEAL), **known}


def _sync(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
