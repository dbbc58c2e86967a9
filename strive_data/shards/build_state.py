"""What the folder of a build says of itself: begun with which settings, and which rows are settled.

`build.json`, written first, holds the settings; each shard's manifest and `tail.json` the rows that are done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from strive_data.common.files import is_temporary, sync_folder, write_json
from strive_data.common.settings import as_dict, differences, fingerprint, identity
from strive_data.config import BuildSettings
from strive_data.errors import DamagedError, UsageError
from strive_data.schema import SCHEMA_VERSION
from strive_data.shards.manifest import (
    FailedRow,
    Manifest,
    TrailingFailures,
    manifest_name,
    read_manifest,
    read_trailing_failures,
    shard_name,
)
from strive_data.shards.provenance import package_versions
from strive_data.shards.reader import RUN_FILE

BUILD_FILE, TAIL_FILE = "build.json", "tail.json"
PARTS = "parts"
WAYS_OUT = "restore it from a copy, or build again into a new folder"
OF_A_SHARD = re.compile(r"(shard-\d{6,})\.(tar|json|samples\.parquet|frames\.parquet)")


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A row that failed, in which round of `--retry-failed` (0: the first), and whether the tail tells it."""

    lost: FailedRow
    attempt: int
    in_tail: bool


@dataclass(frozen=True, kw_only=True)
class BuildState:
    """What is settled: `done` has the question hash of each sample by id, `failed` the last try of others.

    `attempt` is the round that the build is in; `unfinished` as in the last Manifest; `versions` are those
    that the build was begun with; `begun`: the folder is a build; `complete`: `run.json` is there; `parts`
    are the records of the builds that it was joined from, if it was.
    """

    manifests: tuple[Manifest, ...] = ()
    attempt: int = 0
    complete: bool = False
    begun: bool = False
    tail: TrailingFailures = field(default_factory=TrailingFailures)
    versions: Mapping[str, str | None] = field(default_factory=dict)
    done: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, Tried] = field(default_factory=dict)
    parts: tuple[Mapping[str, Any], ...] = ()

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Ids of all rows of the video that the last shard ends in the middle of."""
        return self.manifests[-1].unfinished if self.manifests else ()


def read_build_state(
    out: Path, settings: BuildSettings, *, sizes: Mapping[str, int] | None = None
) -> BuildState:
    """What is settled in `out`, which may be absent or empty.

    A build that was begun with other settings and has no shard yet is none: it may be begun anew. `sizes` are
    those of all files of the build by name, where they are not all in `out` (output.py).

    Raises UsageError for a folder that is no build, or one with shards that was begun with other settings:
    the message names them; DamagedError where a file that a manifest vouches for is gone or cut. Sizes are
    compared, not bytes: `strive-data verify` reads those.
    """
    if not (out / BUILD_FILE).is_file():
        _refuse_strangers(out)
        return BuildState()
    begun = _read_begun(out / BUILD_FILE)
    held = _sizes_of(out) if sizes is None else sizes
    if begun.get("settings_fingerprint") != fingerprint(settings):
        if _holds_shards(held):
            raise UsageError(_other_settings(out, begun, settings))
        return BuildState()
    manifests = _read_manifests(out, fingerprint(settings), held)
    ledger = BuildState(
        attempt=begun["attempt"],
        complete=(out / RUN_FILE).is_file(),
        begun=True,
        versions=begun["versions"],
        parts=tuple(begun.get(PARTS, ())),
    )
    with _ways_out_told():
        tail = read_trailing_failures(out / TAIL_FILE)
    return settle(ledger, manifests, tail)


def settle(ledger: BuildState, manifests: Sequence[Manifest], tail: TrailingFailures) -> BuildState:
    """The ledger by these manifests and this tail; of several tries of a row the last one counts."""
    failed: dict[str, Tried] = {}
    records: list[Manifest | TrailingFailures] = [*manifests[: tail.shards], tail, *manifests[tail.shards :]]
    for record in records:
        for lost in record.failures:
            failed[lost.sample_id] = Tried(lost=lost, attempt=record.attempt, in_tail=record is tail)
    done = {entry.sample_id: entry.question for manifest in manifests for entry in manifest.samples}
    return replace(
        ledger,
        manifests=tuple(manifests),
        tail=tail,
        done=done,
        failed={sample_id: tried for sample_id, tried in failed.items() if sample_id not in done},
    )


def close(
    ledger: BuildState, manifests: Sequence[Manifest], trailing: Sequence[FailedRow], attempt: int
) -> tuple[BuildState, TrailingFailures]:
    """The ledger and tail at the end of a start: all manifests, and the rows that failed behind them.

    What the tail told before stays in it, unless it was tried again since.
    """
    again = {lost.sample_id for lost in trailing}
    kept = [
        tried.lost
        for sample_id, tried in settle(ledger, manifests, ledger.tail).failed.items()
        if tried.in_tail and tried.attempt == attempt and sample_id not in again
    ]
    tail = TrailingFailures(shards=len(manifests), attempt=attempt, failures=(*kept, *trailing))
    return settle(replace(ledger, attempt=attempt), manifests, tail), tail


def start_build(out: Path, settings: BuildSettings, ledger: BuildState, attempt: int) -> None:
    """Make the folder ready for work: no leftovers, no `run.json`, and `build.json` with the round.

    Where a build with other settings was begun and made no shard, what it tried goes too.
    """
    # run.json first: its absence says that the build is at work, whatever comes next.
    (out / RUN_FILE).unlink(missing_ok=True)
    sync_folder(out)
    for path in leftovers(out, ledger.manifests):
        path.unlink()
    if not ledger.begun:
        # Before build.json changes: rows that failed with other settings must not count as tried with these.
        (out / TAIL_FILE).unlink(missing_ok=True)
        sync_folder(out)
    if not ledger.begun or attempt != ledger.attempt:
        body = {
            "schema_version": SCHEMA_VERSION,
            "settings": as_dict(settings),
            "settings_fingerprint": fingerprint(settings),
            "versions": dict(ledger.versions) or package_versions(),
            "attempt": attempt,
            **({PARTS: list(ledger.parts)} if ledger.parts else {}),
        }
        write_json(out / BUILD_FILE, body)
        sync_folder(out)


def leftovers(out: Path, manifests: Sequence[Manifest]) -> list[Path]:
    """Temporary files, and files of shards that were never committed."""
    committed = {Path(manifest.shard).stem for manifest in manifests}
    found = []
    for path in sorted(out.iterdir()):
        shard = OF_A_SHARD.fullmatch(path.name)
        if (is_temporary(path) and not path.is_dir()) or (shard and shard.group(1) not in committed):
            found.append(path)
    return found


def _refuse_strangers(out: Path) -> None:
    """Raise UsageError unless `out` is absent or empty (but for what a first start may have left)."""
    if not out.exists():
        return
    if out.is_dir() and all(is_temporary(path) for path in out.iterdir()):
        return
    if out.is_dir() and (out / RUN_FILE).is_file():
        what = f"holds a build without {BUILD_FILE}, so that nothing can be added to it"
    else:
        what = "is not an empty folder, and holds no build"
    raise UsageError(f"--out {out} {what}: name a new folder, or remove this one first")


def _read_begun(path: Path) -> dict[str, Any]:
    try:
        body: dict[str, Any] = json.loads(path.read_bytes())
        version = body["schema_version"]
        if version == SCHEMA_VERSION and body.keys() >= {"settings", "versions", "attempt"}:
            return body
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(
            f"{path} is not what a build writes ({error!r}): name a new --out folder"
        ) from error
    raise UsageError(
        f"{path} has schema version {version}, this package writes {SCHEMA_VERSION}: name a new --out folder"
    )


def _holds_shards(held: Mapping[str, int]) -> bool:
    """Whether a shard was committed; of a finished build any file of one says so: manifests get lost."""
    endings = {found.group(2) for name in held if (found := OF_A_SHARD.fullmatch(name))}
    return "json" in endings or (RUN_FILE in held and bool(endings))


def _other_settings(out: Path, begun: Mapping[str, Any], settings: BuildSettings) -> str:
    """What is said of a build that was begun with others."""
    wanted = identity(settings)
    was = {name: begun["settings"].get(name, {}) for name in wanted}
    named = {name: {key: was[name].get(key, "nothing") for key in wanted[name]} for name in wanted}
    said = "; ".join(differences(named, wanted)) or "those of another version of this package"
    return f"--out {out} was begun with other settings: {said}. Use the same ones, or name a new folder"


def _sizes_of(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in out.iterdir()}


def _read_manifests(out: Path, settings_fingerprint: str, held: Mapping[str, int]) -> list[Manifest]:
    """Manifests from the first shard on. Raises DamagedError where one is missing or does not hold."""
    count = max((int(Path(name).stem.split("-")[1]) + 1 for name in held if _is_manifest(name)), default=0)
    manifests = []
    for number in range(count):
        shard = shard_name(number)
        if manifest_name(shard) not in held:
            later = manifest_name(shard_name(count - 1))
            raise DamagedError(_damaged(out / manifest_name(shard), f"is gone, but {later} is there"))
        with _ways_out_told():
            manifest = read_manifest(out / manifest_name(shard))
        if manifest.settings != settings_fingerprint or manifest.shard != shard:
            raise DamagedError(_damaged(out / manifest_name(shard), "is of another build"))
        sizes = {shard: manifest.size_bytes} | {n: part.size_bytes for n, part in manifest.parts.items()}
        for name, size_bytes in sizes.items():
            found = held.get(name)
            if found != size_bytes:
                what = "is gone" if found is None else f"has {found} bytes"
                raise DamagedError(_damaged(out / name, f"{what}, its manifest says {size_bytes}"))
        manifests.append(manifest)
    return manifests


@contextmanager
def _ways_out_told() -> Iterator[None]:
    """Say what to do about a record that cannot be read."""
    try:
        yield
    except DamagedError as error:
        raise DamagedError(f"{error}: {WAYS_OUT}") from error


def _is_manifest(name: str) -> bool:
    found = OF_A_SHARD.fullmatch(name)
    return found is not None and found.group(2) == "json"


def _damaged(path: Path, what: str) -> str:
    return f"{path} {what}: {WAYS_OUT}"
