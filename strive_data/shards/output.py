"""Where a build writes: a folder of this machine, or one behind a URL, by way of a folder of this machine.

The commit protocol is the same for both. An object store has no rename, but shows an object whole or not at
all, so what a file's rename is here, its upload is there: a shard's tar and parts go before its manifest, and
`run.json` goes last. A finished tar leaves this machine when it is uploaded; small files stay as long as
the build runs. Nothing guards an object store against two builds that write to the same URL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from strive_data.common.files import is_temporary
from strive_data.common.output_folder import disk_full_named, output_folder
from strive_data.common.storage import RemoteFolder, open_folder, place_of
from strive_data.errors import DamagedError, UsageError
from strive_data.shards.build_state import BUILD_FILE, OF_A_SHARD, TAIL_FILE
from strive_data.shards.manifest import Manifest
from strive_data.shards.reader import RUN_FILE
from strive_data.shards.tables import FAILURES_FILE

# Storages that show a file whole or not at all while it is written.
ATOMIC = frozenset(["abfs", "abfss", "az", "gcs", "gs", "hf", "memory", "oci", "oss", "s3", "s3a", "tos"])
TRANSFERS = 16


class Output(Protocol):
    """`folder` is of this machine, and holds what a build needs of itself to go on.

    `remote`: the output is elsewhere, and only `publish` tells whether it can be written.
    """

    folder: Path
    remote: bool

    def sizes(self) -> dict[str, int]:
        """Bytes of each file of the build, by name."""

    def publish(self) -> None:
        """Make the output what the folder is now. Raises StriveError where it cannot be written."""

    def fetch_parts(self, manifests: Sequence[Manifest]) -> None:
        """Have the table rows of these shards in the folder."""


class LocalOutput:
    """The folder itself."""

    remote = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sizes(self) -> dict[str, int]:
        """See Output."""
        return {path.name: path.stat().st_size for path in self.folder.iterdir()}

    def publish(self) -> None:
        """See Output."""

    def fetch_parts(self, manifests: Sequence[Manifest]) -> None:
        """See Output."""


class RemoteOutput:
    """A folder of this machine whose changes are brought to a URL.

    Raises UsageError where the URL holds files and no build.
    """

    remote = True

    def __init__(self, remote: RemoteFolder, folder: Path) -> None:
        self.folder, self._remote = folder, remote
        self._sizes = remote.sizes()
        if self._sizes and BUILD_FILE not in self._sizes:
            raise UsageError(f"--out {remote} is not empty, and holds no build: name a new folder")
        committed = {Path(name).stem for name in self._sizes if _is_manifest(name)}
        self._uncommitted = [name for name in self._sizes if _shard_of(name) not in {None, *committed}]
        self._fetch(name for name in self._sizes if _is_kept(name))
        self._published = self._seen()

    def sizes(self) -> dict[str, int]:
        """See Output."""
        return dict(self._sizes)

    def publish(self) -> None:
        """See Output. What is gone goes first, `run.json` before all; what vouches for others comes last."""
        seen = self._seen()
        gone = self._published.keys() - seen.keys()
        for name in sorted([*gone, *self._uncommitted], key=_rank, reverse=True):
            self._remote.remove(name)
            self._sizes.pop(name, None)
        self._uncommitted = []
        changed = [name for name, state in seen.items() if self._published.get(name) != state]
        for name in sorted(changed, key=_rank):
            self._remote.put(name, self.folder / name)
            self._sizes[name] = (self.folder / name).stat().st_size
            if name.endswith(".tar"):
                (self.folder / name).unlink()
        self._published = self._seen()

    def fetch_parts(self, manifests: Sequence[Manifest]) -> None:
        """See Output."""
        names = [name for manifest in manifests for name in manifest.parts]
        self._fetch(name for name in names if not (self.folder / name).is_file())
        self._published = self._seen()

    def _fetch(self, names: Iterable[str]) -> None:
        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(lambda name: self._remote.fetch(name, self.folder / name), names))

    def _seen(self) -> dict[str, tuple[int, int, int]]:
        """What tells whether a file of the folder was written anew: every write is a new file, by rename."""
        found = {path.name: path.stat() for path in self.folder.iterdir() if not is_temporary(path)}
        return {name: (state.st_ino, state.st_mtime_ns, state.st_size) for name, state in found.items()}


@contextmanager
def open_output(out: Path | str) -> Iterator[Output]:
    """The output at a path or URL, held as long as the block runs.

    Raises UsageError where it cannot be used, DiskFullError where the block finds no room on this machine's
    disk, StriveError where the storage does not answer.
    """
    place = place_of(out)
    if isinstance(place, Path):
        with output_folder(place):
            yield LocalOutput(place)
        return
    scheme = place.split(":")[0].lower()
    if scheme not in ATOMIC:
        raise UsageError(
            f"--out {place}: {scheme} shows files before they are whole; build into a local folder, or a URL "
            f"of {', '.join(sorted(ATOMIC))}"
        )
    remote = open_folder(place)
    if not isinstance(remote, RemoteFolder):
        raise TypeError(f"{place} was opened as {remote}")
    with (
        TemporaryDirectory(prefix="strive-out-") as folder,
        disk_full_named(Path(folder)),
        _said_of(place, folder),
    ):
        yield RemoteOutput(remote, Path(folder))


@contextmanager
def _said_of(url: str, folder: str) -> Iterator[None]:
    """Messages that name the folder name the URL: the folder is gone when they are read."""
    try:
        yield
    except (UsageError, DamagedError) as error:
        raise type(error)(str(error).replace(folder, url)) from error


def _is_kept(name: str) -> bool:
    """Whether a build reads it of itself to go on."""
    return name in (BUILD_FILE, TAIL_FILE, RUN_FILE, FAILURES_FILE) or _is_manifest(name)


def _is_manifest(name: str) -> bool:
    return _shard_of(name) is not None and name.endswith(".json")


def _shard_of(name: str) -> str | None:
    """The shard whose file it is, without an ending."""
    found = OF_A_SHARD.fullmatch(name)
    return found.group(1) if found else None


def _rank(name: str) -> tuple[int, str]:
    """Place in the order of uploads."""
    if name == BUILD_FILE:
        rank = 0
    elif name == RUN_FILE:
        rank = 4
    elif _is_manifest(name):
        rank = 2
    else:
        rank = 1 if _shard_of(name) else 3
    return rank, name
