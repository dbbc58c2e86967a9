"""Join finished builds of equal settings into one: shards unchanged under new numbers, and all tables.

A sample that several builds hold with the same bytes is taken once. One id with different bytes is refused,
unless the caller decides that the build named first wins. Everything is written into a hidden folder beside
the output, run.json last; then the folder is renamed (`new_folder`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl

from strive_data.build.progress import Observe
from strive_data.build.verify import file_problems, read_record
from strive_data.common.files import file_sha256, new_folder, replacing, write_json
from strive_data.common.settings import differences, identity
from strive_data.common.text import counted_samples, plural
from strive_data.config import BuildSettings, Duplicates
from strive_data.errors import DamagedError, FailureKind, UsageError
from strive_data.schema import FailedRow
from strive_data.shards.build_state import BuildState, read_build_state, start_build
from strive_data.shards.finalize import finalize
from strive_data.shards.format import END_OF_ARCHIVE
from strive_data.shards.manifest import (
    CHECKSUM_KEY,
    FAILURES_FILE,
    FILES,
    Entry,
    Manifest,
    PartFile,
    TrailingFailures,
    as_body,
    manifest_name,
    part_name,
    shard_name,
)
from strive_data.shards.writer import SCHEMAS, write_table

MAX_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Part:
    """A finished build to be joined: `run` is its run.json."""

    folder: Path
    run: Mapping[str, Any]
    settings: BuildSettings
    state: BuildState


@dataclass(frozen=True, kw_only=True)
class ShardMove:
    """A shard of part number `part` that becomes `shard`, with the entries that are kept."""

    part: int
    manifest: Manifest
    shard: str
    kept: tuple[Entry, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all samples are kept, so that the bytes do not change."""
        return len(self.kept) == len(self.manifest.samples)


@dataclass(frozen=True, kw_only=True)
class MergePlan:
    """`moves` in the order of the joined shards; `repeated` counts samples that an earlier part also holds.

    `conflicts` names those of them with other bytes, each with the two builds; `failures` were recorded by
    the manifests of shards of which nothing is kept.
    """

    moves: tuple[ShardMove, ...]
    repeated: int
    conflicts: tuple[str, ...]
    failures: tuple[FailedRow, ...]


def read_part(folder: Path) -> Part:
    """The build in `folder`; checks the hashes of tables and manifests, and reads no shard.

    Raises UsageError if it is not a finished build, DamagedError if a checksum differs.
    """
    run, settings = read_record(folder)
    if problems := list(file_problems(folder, run)):
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise DamagedError(f"{folder}/{problems[0]}{more}: `strive-data verify {folder}` lists all")
    return Part(folder=folder, run=run, settings=settings, state=read_build_state(folder, settings))


def require_same_settings(parts: Sequence[Part]) -> None:
    """Raise UsageError that names every setting in which a build differs from the first."""
    first, *others = parts
    for other in others:
        if changed := differences(identity(first.settings), identity(other.settings)):
            raise UsageError(
                f"builds of different settings cannot be joined: {first.folder} has {'; '.join(changed)}, in "
                f"{other.folder}; build one of them again"
            )


def plan_merge(
    parts: Sequence[Sequence[Manifest]], names: Sequence[str], duplicates: Duplicates
) -> MergePlan:
    """The plan for the manifests of each part; messages use the `names` of the parts.

    Raises UsageError for ids that several parts hold with different bytes, if they are refused.
    """
    owner: dict[str, tuple[str, int]] = {}
    moves, failures, conflicts = list[ShardMove](), list[FailedRow](), list[str]()
    repeated = 0
    for part, manifest in ((part, manifest) for part, of in enumerate(parts) for manifest in of):
        kept = []
        for entry in manifest.samples:
            digest, first = owner.setdefault(entry.sample_id, (entry.sha256, part))
            if first == part:
                kept.append(entry)
                continue
            repeated += 1
            if digest != entry.sha256:
                conflicts.append(f"{entry.sample_id!r} in {names[first]} and {names[part]}")
        if kept:
            shard = shard_name(len(moves))
            moves.append(ShardMove(part=part, manifest=manifest, shard=shard, kept=tuple(kept)))
        else:
            failures += manifest.failures
    if conflicts and duplicates == "refuse":
        raise UsageError(
            f"different content in several builds: {plural(len(conflicts), 'sample id')}: "
            f"{list_some(conflicts)}; --duplicates first takes the content of the build named first"
        )
    return MergePlan(
        moves=tuple(moves), repeated=repeated, conflicts=tuple(conflicts), failures=tuple(failures)
    )


def list_some(conflicts: Sequence[str]) -> str:
    """The first conflicts, and the number of the others."""
    more = f" and {len(conflicts) - MAX_LISTED} more" if len(conflicts) > MAX_LISTED else ""
    return "; ".join(conflicts[:MAX_LISTED]) + more


@dataclass(frozen=True, kw_only=True)
class MergeSummary:
    """What a joined build holds: the `counts` of its run.json.

    `repeated` samples were in several parts with the same bytes and were taken once; `conflicts` names those
    with other bytes in a later part, which were dropped; `resolved` failed rows were dropped because another
    part has their sample.
    """

    counts: Mapping[str, int]
    repeated: int
    conflicts: tuple[str, ...]
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

    Shards keep their bytes, in the order of `folders`, under new numbers: as hard links if the file system
    has them, otherwise or with `copy` as copies. Only a shard that loses samples of an earlier part is
    written again. Equal parts in the same order give equal bytes.

    Raises UsageError for folders that are not builds, different settings, an output in use, and one id with
    different content (`duplicates`); DamagedError if a checksum of a part differs; StriveError if the output
    cannot be written.
    """
    if len(folders) < 2:
        raise UsageError(f"got {len(folders)} build, expected two or more to join")
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < len(resolved):
        raise UsageError("one build is named twice; name each once")
    if any(out.resolve().is_relative_to(folder) for folder in resolved):
        raise UsageError(f"--out {out} is inside one of the builds; name a new folder")
    parts = [read_part(folder) for folder in folders]
    require_same_settings(parts)
    manifests, names = [part.state.manifests for part in parts], [str(part.folder) for part in parts]
    plan = plan_merge(manifests, names, duplicates)
    with new_folder(out) as hidden:
        return _write_build(parts, plan, hidden, copy=copy, observe=observe)


def summary_lines(summary: MergeSummary, out: Path, *, builds: int) -> Iterator[str]:
    """The closing lines of a merge."""
    yield f"{out}: {counted_samples(summary.counts)}, of {plural(builds, 'build')}"
    if summary.repeated:
        yield f"  in several builds, taken once: {plural(summary.repeated, 'sample')}"
    if summary.conflicts:
        count = plural(len(summary.conflicts), "sample")
        yield f"  other content in a later build, dropped: {count}: {list_some(summary.conflicts)}"
    if summary.resolved:
        yield f"  dropped, because another build has the sample: {plural(summary.resolved, 'failure')}"


def _write_build(
    parts: Sequence[Part], plan: MergePlan, out: Path, *, copy: bool, observe: Observe | None
) -> MergeSummary:
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
    manifests: list[Manifest] = []
    for move in plan.moves:
        manifests.append(move_shard(move, parts[move.part].folder, out, copy=copy))
        if observe:
            observe(len(manifests), len(plan.moves), sum(m.size_bytes for m in manifests))
    rows = (*plan.failures, *(row for part in parts for row in part.state.trailing.failures))
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
    repeated = plan.repeated - len(plan.conflicts)
    return MergeSummary(counts=counts, repeated=repeated, conflicts=plan.conflicts, resolved=resolved)


def join_failures(folders: Sequence[Path], samples: set[str]) -> tuple[pl.DataFrame, int]:
    """Failed rows of all parts, equal ones once, and the number dropped because a part has their sample."""
    rows = pl.concat([pl.read_parquet(folder / FAILURES_FILE) for folder in folders])
    rows = rows.unique(maintain_order=True)
    repeated_id = pl.col("kind") == FailureKind.DUPLICATE_ID.value
    left = rows.filter(repeated_id | ~pl.col("sample_id").is_in(list(samples)))
    return left, rows.height - left.height


def move_shard(move: ShardMove, source: Path, out: Path, *, copy: bool) -> Manifest:
    """Bring a shard, its table rows and its manifest from folder `source` to folder `out`.

    Raises DamagedError if copied bytes are not those of the manifest, and OSError.
    """
    old, new = source / move.manifest.shard, out / move.shard
    manifest = replace(move.manifest, shard=move.shard, parts=_move_parts(move, source, out, copy=copy))
    if move.is_whole:
        _link_or_copy(old, new, move.manifest.sha256, copy=copy)
    else:
        entries, size_bytes, digest = _rewrite(old, new, move.kept)
        manifest = replace(manifest, samples=entries, size_bytes=size_bytes, sha256=digest)
    write_json(out / manifest_name(move.shard), as_body(manifest))
    return manifest


def _move_parts(move: ShardMove, source: Path, out: Path, *, copy: bool) -> dict[str, PartFile]:
    """The shard's rows of each table. Only the name of the shard and dropped samples change them."""
    kept = [entry.sample_id for entry in move.kept]
    parts: dict[str, PartFile] = {}
    for table, schema in SCHEMAS.items():
        old, new = part_name(move.manifest.shard, table), part_name(move.shard, table)
        same_name = old == new or "shard" not in schema
        if move.is_whole and same_name:
            parts[new] = move.manifest.parts[old]
            _link_or_copy(source / old, out / new, parts[new].sha256, copy=copy)
            continue
        rows = pl.read_parquet(source / old).filter(pl.col("sample_id").is_in(kept))
        write_table(out / new, rows if same_name else rows.with_columns(shard=pl.lit(move.shard)))
        parts[new] = PartFile(size_bytes=(out / new).stat().st_size, sha256=file_sha256(out / new))
    return parts


def _link_or_copy(old: Path, new: Path, digest: str, *, copy: bool) -> None:
    if not copy:
        with suppress(OSError):  # another file system, or one without links
            os.link(old.resolve(), new)
            return
    with replacing(new) as temporary:
        shutil.copyfile(old, temporary)
        if file_sha256(temporary) != digest:
            raise _damaged(old)


def _rewrite(old: Path, new: Path, kept: Sequence[Entry]) -> tuple[tuple[Entry, ...], int, str]:
    """Write the kept samples, bytes unchanged, one after the other; their entries, size and sha256 of all."""
    digest, entries, at = sha256(), list[Entry](), 0
    with replacing(new) as temporary, temporary.open("wb") as target, old.open("rb") as source:
        for entry in kept:
            source.seek(entry.offset)
            block = source.read(entry.length)
            if sha256(block).hexdigest() != entry.sha256:
                raise _damaged(old)
            entries.append(replace(entry, offset=at))
            digest.update(block)
            at += target.write(block)
        digest.update(END_OF_ARCHIVE)
        at += target.write(END_OF_ARCHIVE)
    return tuple(entries), at, digest.hexdigest()


def _damaged(path: Path) -> DamagedError:
    return DamagedError(
        f"{path} is not what its manifest says: `strive-data verify {path.parent}` lists more"
    )
