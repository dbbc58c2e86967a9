"""Where a build lies: a local folder, or a URL by way of a temporary local folder, to write and to read.

The commit protocol is the same for both. An object store has no rename, but shows an object whole or not at
all, so an upload takes the place of a rename: a shard's tar and parts are uploaded before its manifest, and
`run.json` last. A finished tar is deleted here after its upload; small files stay while the build runs.
Object stores have no locks: nothing prevents two builds from writing to the same URL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from strive_data.common.files import disk_full_named, is_temporary, output_folder
from strive_data.common.storage import RemoteFolder, open_folder, open_remote, place_of, require_room
from strive_data.errors import DamagedError, UsageError
from strive_data.shards.manifest import (
    FAILURES_FILE,
    TABLE_FILES,
    TRAILING_FILE,
    VIDEOS_FILE,
    Manifest,
    is_manifest,
    shard_of,
)
from strive_data.shards.run_file import BUILD_FILE, RUN_FILE, read_run

# Storages that never show a file before it is whole.
ATOMIC = frozenset(["abfs", "abfss", "az", "gcs", "gs", "hf", "memory", "oci", "oss", "s3", "s3a", "tos"])
TRANSFERS = 16
READ_TO_CONTINUE = (BUILD_FILE, TRAILING_FILE, RUN_FILE, FAILURES_FILE, VIDEOS_FILE)


class Output:
    """The output of a build. `folder` is local and holds the files that a build needs to continue: in a local
    folder all of them, so that nothing has to be published.

    `remote`: the output is at a URL, and only `publish` can show that it is writable.
    """

    remote = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sizes(self) -> dict[str, int]:
        """Bytes of each file of the build, by name."""
        return {path.name: path.stat().st_size for path in self.folder.iterdir()}

    def publish(self) -> None:
        """Bring all changes of the folder to the output. Raises StriveError if it cannot be written."""

    def fetch_parts(self, manifests: Sequence[Manifest]) -> None:
        """Fetch the table rows of these shards into the folder."""


class RemoteOutput(Output):
    """A local folder whose changes are uploaded to a URL.

    Raises UsageError if the URL holds files but no build.
    """

    remote = True

    def __init__(self, remote: RemoteFolder, folder: Path) -> None:
        super().__init__(folder)
        self._remote = remote
        self._sizes = remote.sizes()
        if self._sizes and BUILD_FILE not in self._sizes:
            raise UsageError(f"--out {remote} is not empty, and holds no build: name a new folder")
        committed = {None, *(shard_of(name) for name in self._sizes if is_manifest(name))}
        self._uncommitted = [name for name in self._sizes if shard_of(name) not in committed]
        fetch(remote, (name for name in self._sizes if name in READ_TO_CONTINUE or is_manifest(name)), folder)
        self._published = self._snapshot()

    def sizes(self) -> dict[str, int]:
        """See Output."""
        return dict(self._sizes)

    def publish(self) -> None:
        """See Output. Removals come first, `run.json` before all; uploads end with the files that list
        others."""
        snapshot = self._snapshot()
        gone = self._published.keys() - snapshot.keys()
        for name in sorted([*gone, *self._uncommitted], key=_rank, reverse=True):
            self._remote.remove(name)
            self._sizes.pop(name, None)
        self._uncommitted = []
        changed = [name for name, state in snapshot.items() if self._published.get(name) != state]
        for name in sorted(changed, key=_rank):
            self._remote.put(name, self.folder / name)
            self._sizes[name] = (self.folder / name).stat().st_size
            if name.endswith(".tar"):
                (self.folder / name).unlink()
        self._published = self._snapshot()

    def fetch_parts(self, manifests: Sequence[Manifest]) -> None:
        """See Output."""
        names = [name for manifest in manifests for name in manifest.parts]
        fetch(self._remote, (name for name in names if not (self.folder / name).is_file()), self.folder)
        self._published = self._snapshot()

    def _snapshot(self) -> dict[str, tuple[int, int, int]]:
        """The identity of each file. It changes with every write, because files are written by rename."""
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
            yield Output(place)
        return
    scheme = place.split(":")[0].lower()
    if scheme not in ATOMIC:
        raise UsageError(
            f"--out {place}: {scheme} shows files before they are whole; build into a local folder, or a URL "
            f"of {', '.join(sorted(ATOMIC))}"
        )
    remote = open_remote(place)
    with TemporaryDirectory(prefix="strive-out-") as folder, disk_full_named(Path(folder)):
        try:
            yield RemoteOutput(remote, Path(folder))
        except (UsageError, DamagedError) as error:
            # The temporary folder no longer exists when the message is read.
            raise type(error)(str(error).replace(folder, place)) from error


@contextmanager
def local_copy(where: str | Path, *, tables_only: bool) -> Iterator[Path]:
    """The folder of a build; for a URL, a copy that exists while the block runs.

    Raises UsageError for a URL without a finished build, StriveError if the disk has no room.
    """
    remote = open_folder(where)
    if not isinstance(remote, RemoteFolder):
        yield Path(str(remote))
        return
    read_run(remote)
    tables = {*TABLE_FILES, BUILD_FILE, RUN_FILE}
    wanted = {name: size for name, size in remote.sizes().items() if not tables_only or name in tables}
    with TemporaryDirectory(prefix="strive-copy-") as folder:
        require_room(str(remote), sum(wanted.values()), Path(folder))
        fetch(remote, wanted, Path(folder))
        yield Path(folder)


def fetch(remote: RemoteFolder, names: Iterable[str], folder: Path) -> None:
    """Copy these files of a URL into a folder, several at once."""
    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(lambda name: remote.fetch(name, folder / name), names))


def _rank(name: str) -> tuple[int, str]:
    """Place in the order of uploads."""
    other = 2 if is_manifest(name) else 1 if shard_of(name) else 3
    return {BUILD_FILE: 0, RUN_FILE: 4}.get(name, other), name
