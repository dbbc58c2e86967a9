"""The state of a build, read from its folder: its settings, and which rows it has settled.

`build.json`, written first, holds the settings; the manifests of the shards and `tail.json` hold the rows
that are done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from strive_data import SCHEMA_VERSION
from strive_data.common.files import is_temporary, sync_folder, write_json
from strive_data.common.settings import as_dict, differences, fingerprint, identity
from strive_data.config import BuildSettings
from strive_data.errors import DamagedError, UsageError
from strive_data.schema import FailedRow
from strive_data.shards.manifest import (
    PARTS,
    TRAILING_FILE,
    Manifest,
    TrailingFailures,
    is_manifest,
    manifest_name,
    package_versions,
    read_manifest,
    read_trailing_failures,
    shard_name,
    shard_of,
)
from strive_data.shards.run_file import BUILD_FILE, RUN_FILE


@dataclass(frozen=True, kw_only=True)
class BuildState:
    """Which rows are settled: `done` maps the id of each sample to its question hash, `failed` the id of each
    other settled row to its last failure.

    `started`: the folder holds a build; `complete`: `run.json` is there. `attempt` is the current round of
    `--retry-failed`, `versions` are those that the build started with, `parts` the records of the builds that
    it was merged from.
    """

    manifests: tuple[Manifest, ...] = ()
    trailing: TrailingFailures = field(default_factory=TrailingFailures)
    attempt: int = 0
    started: bool = False
    complete: bool = False
    versions: Mapping[str, str | None] = field(default_factory=dict)
    done: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, FailedRow] = field(default_factory=dict)
    parts: tuple[Mapping[str, Any], ...] = ()

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Ids of all rows of the video in whose middle the last shard ended."""
        return self.manifests[-1].unfinished if self.manifests else ()

    def with_records(self, manifests: Sequence[Manifest], trailing: TrailingFailures) -> BuildState:
        """The state by these records. If a row failed several times, the last failure counts."""
        records: list[Manifest | TrailingFailures] = [*manifests[: trailing.shards], trailing]
        records += manifests[trailing.shards :]
        failed = {failure.sample_id: failure for record in records for failure in record.failures}
        done = {entry.sample_id: entry.question for manifest in manifests for entry in manifest.samples}
        return replace(
            self,
            manifests=tuple(manifests),
            trailing=trailing,
            done=done,
            failed={sample_id: failure for sample_id, failure in failed.items() if sample_id not in done},
        )

    def at_end(
        self, manifests: Sequence[Manifest], failures: Sequence[FailedRow], attempt: int
    ) -> BuildState:
        """The state at the end of a start: all manifests, and the rows that failed after the last shard.

        Earlier trailing failures of the same round stay, unless their rows were tried again.
        """
        since = [row for manifest in manifests[self.trailing.shards :] for row in manifest.failures]
        later = {row.sample_id for row in (*failures, *since)}
        later |= {entry.sample_id for manifest in manifests for entry in manifest.samples}
        earlier = {row.sample_id: row for row in self.trailing.failures}
        kept = [row for name, row in earlier.items() if row.attempt == attempt and name not in later]
        trailing = TrailingFailures(shards=len(manifests), attempt=attempt, failures=(*kept, *failures))
        return replace(self, attempt=attempt).with_records(manifests, trailing)


def read_build_state(
    out: Path, settings: BuildSettings, *, sizes: Mapping[str, int] | None = None
) -> BuildState:
    """The state of the build in `out`, which may be absent or empty.

    A build that started with other settings and has no shard yet counts as absent: it may start again.
    `sizes` are the sizes of all files of the build by name, if not all of them are in `out` (output.py).

    Raises UsageError for a folder that holds something else, and for a build with shards and other settings;
    DamagedError if a file that a manifest describes is missing or has another size. Only sizes are compared:
    `strive-data verify` reads the bytes.
    """
    if not (out / BUILD_FILE).is_file():
        # An interrupted first start leaves temporary files alone.
        if not out.exists() or (out.is_dir() and all(map(is_temporary, out.iterdir()))):
            return BuildState()
        what = "is not an empty folder, and holds no build"
        if (out / RUN_FILE).is_file():
            what = f"holds a build without {BUILD_FILE}, so that nothing can be added to it"
        raise UsageError(f"--out {out} {what}: name a new folder, or remove this one first")
    body = read_build_file(out / BUILD_FILE)
    held = {path.name: path.stat().st_size for path in out.iterdir()} if sizes is None else sizes
    if body.get("settings_fingerprint") != fingerprint(settings):
        files = [name for name in held if shard_of(name)]
        # In a complete build any file of a shard counts: manifests may be lost.
        if any(map(is_manifest, files)) or (files and RUN_FILE in held):
            raise UsageError(_other_settings(out, body, settings))
        return BuildState()
    try:
        manifests = _read_manifests(out, fingerprint(settings), held)
        trailing = read_trailing_failures(out / TRAILING_FILE)
    except DamagedError as error:
        raise DamagedError(f"{error}: restore it from a copy, or build again into a new folder") from error
    state = BuildState(
        attempt=body["attempt"],
        started=True,
        complete=(out / RUN_FILE).is_file(),
        versions=body["versions"],
        parts=tuple(body.get(PARTS, ())),
    )
    return state.with_records(manifests, trailing)


def read_build_file(path: Path) -> dict[str, Any]:
    """The body of build.json. Raises DamagedError for another content, UsageError for another version."""
    try:
        body: dict[str, Any] = json.loads(path.read_bytes())
        version = body["schema_version"]
        if version == SCHEMA_VERSION and body.keys() >= {"settings", "versions", "attempt"}:
            return body
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise DamagedError(
            f"{path} is not the {BUILD_FILE} of a build ({error!r}): name a new --out folder"
        ) from error
    raise UsageError(
        f"{path} has schema version {version}, this package writes {SCHEMA_VERSION}: name a new --out folder"
    )


def start_build(out: Path, settings: BuildSettings, state: BuildState, attempt: int) -> None:
    """Prepare the folder for work: remove leftovers and `run.json`, write `build.json` with the round.

    If a build with other settings started here and made no shard, its trailing failures are removed too.
    """
    # run.json first: its absence says that the build is incomplete, whatever happens next.
    (out / RUN_FILE).unlink(missing_ok=True)
    sync_folder(out)
    for path in leftovers(out, state.manifests):
        path.unlink()
    if not state.started:
        # Before build.json changes: rows that failed with other settings must not count as tried with these.
        (out / TRAILING_FILE).unlink(missing_ok=True)
        sync_folder(out)
    if not state.started or attempt != state.attempt:
        body = {
            "schema_version": SCHEMA_VERSION,
            "settings": as_dict(settings),
            "settings_fingerprint": fingerprint(settings),
            "versions": dict(state.versions) or package_versions(),
            "attempt": attempt,
            **({PARTS: list(state.parts)} if state.parts else {}),
        }
        write_json(out / BUILD_FILE, body)
        sync_folder(out)


def leftovers(out: Path, manifests: Sequence[Manifest]) -> list[Path]:
    """Temporary files, and files of shards that were never committed."""
    committed = {None, *(manifest.shard for manifest in manifests)}
    return [
        path
        for path in sorted(out.iterdir())
        if (is_temporary(path) and not path.is_dir()) or shard_of(path.name) not in committed
    ]


def _other_settings(out: Path, body: Mapping[str, Any], settings: BuildSettings) -> str:
    wanted = identity(settings)
    stored = {name: body["settings"].get(name, {}) for name in wanted}
    known = {name: {key: stored[name].get(key, "nothing") for key in wanted[name]} for name in wanted}
    changes = "; ".join(differences(known, wanted)) or "those of another version of this package"
    return (
        f"--out {out} holds a build with other settings: {changes}. Use the same ones, or name a new folder"
    )


def _read_manifests(out: Path, settings_fingerprint: str, held: Mapping[str, int]) -> list[Manifest]:
    """Manifests from the first shard on. Raises DamagedError if one is missing or describes other files."""
    numbers = [int(name.removesuffix(".json").split("-")[1]) for name in held if is_manifest(name)]
    last = max(numbers, default=-1)
    manifests = []
    for shard in map(shard_name, range(last + 1)):
        path = out / manifest_name(shard)
        if path.name not in held:
            raise DamagedError(f"{path} is missing, but {manifest_name(shard_name(last))} is there")
        manifest = read_manifest(path)
        if manifest.settings != settings_fingerprint or manifest.shard != shard:
            raise DamagedError(f"{path} belongs to another build")
        sizes = {shard: manifest.size_bytes} | {n: part.size_bytes for n, part in manifest.parts.items()}
        for name, size_bytes in sizes.items():
            if held.get(name) != size_bytes:
                found = f"has {held[name]} bytes" if name in held else "is missing"
                raise DamagedError(f"{out / name} {found}, its manifest says {size_bytes} bytes")
        manifests.append(manifest)
    return manifests
