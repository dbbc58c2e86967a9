"""A finished build at a path or URL → a folder of this machine, for who reads tables or every byte."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from strive_data.errors import StriveError, UsageError
from strive_data.finish import TABLE_FILES
from strive_data.ledger import BUILD_FILE
from strive_data.shards import RUN_FILE, read_run
from strive_data.storage import RemoteFolder, open_folder, place_of

TABLES_AND_RECORD = frozenset({*TABLE_FILES, BUILD_FILE, RUN_FILE})
TRANSFERS = 16


@contextmanager
def local_copy(where: str | Path, *, tables_only: bool) -> Iterator[Path]:
    """The build's folder; of one behind a URL a copy that is there as long as the block runs.

    Raises UsageError for a URL where there is no finished build, StriveError where the disk has no room.
    """
    remote = open_folder(where)
    if not isinstance(remote, RemoteFolder):
        yield Path(str(remote))
        return
    read_run(remote)
    wanted = {
        name: size for name, size in remote.sizes().items() if not tables_only or name in TABLES_AND_RECORD
    }
    with TemporaryDirectory(prefix="strive-copy-") as folder:
        _require_room(remote, sum(wanted.values()), Path(folder))
        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(lambda name: remote.fetch(name, Path(folder) / name), wanted))
        yield Path(folder)


def is_remote(where: str) -> bool:
    """Whether it is the URL of another storage. Raises UsageError as `place_of`."""
    return isinstance(place_of(where), str)


def local_folder(where: str) -> Path:
    """The folder of a command that reads folders of this machine only. Raises UsageError for a URL."""
    place = place_of(where)
    if isinstance(place, str):
        raise UsageError(f"{place}: this command reads folders of this machine; copy the build to one first")
    return place


def _require_room(remote: RemoteFolder, size_bytes: int, folder: Path) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if size_bytes > free_bytes:
        raise StriveError(
            f"{remote}: {size_bytes} bytes are to be read, and {folder.parent} has room for {free_bytes}: "
            "free space, or set TMPDIR to a larger disk"
        )
