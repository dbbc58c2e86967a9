"""Videos behind a URL: copied to this machine for as long as one is read.

Readers go over the whole file twice (its packets, then the frames), so that reading it by ranges would save
nothing, and cost a request a packet.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import gettempdir
from typing import Generic, TypeVar

from strive_data.common.storage import open_remote, require_room
from strive_data.config import DecodeSettings
from strive_data.engines.engine import VideoPath
from strive_data.errors import DamagedError, FailureKind, SampleError, StriveError
from strive_data.schema import LocalVideo

T = TypeVar("T")


@dataclass(frozen=True)
class TimedRead(Generic[T]):
    """`read` for videos of this machine and behind URLs, with its seconds. Picklable if `read` is."""

    read: Callable[[LocalVideo, DecodeSettings], T]

    def __call__(self, path: VideoPath, settings: DecodeSettings) -> tuple[T, float]:
        """What `read` gives, and the seconds that it took, a copy from a URL included; errors name the URL.

        Raises SampleError (missing) where there is no such video, StriveError where the storage cannot be
        asked, or the disk has no room.
        """
        started = time.perf_counter()
        with fetched(path) if isinstance(path, str) else nullcontext(path) as video:
            try:
                read = self.read(video, settings)
            except SampleError as error:
                raise SampleError(error.kind, error.message.replace(str(video), str(path))) from error
        return read, time.perf_counter() - started


@contextmanager
def fetched(url: str) -> Iterator[Path]:
    """A copy of the file at a URL, removed at the end; the name's ending is kept: it may tell the format."""
    above, _, name = url.rpartition("/")
    remote, folder = open_remote(above), own_folder()
    copy = folder / f"{os.getpid()}{PurePosixPath(name).suffix}"
    try:
        require_room(url, remote.size_bytes(name), folder)
        remote.fetch(name, copy)
    except DamagedError as error:
        raise SampleError(FailureKind.MISSING, f"{url}: no such file") from error
    try:
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def own_folder() -> Path:
    """Where this user's processes keep their copies, one each; those of processes that were killed go."""
    folder = Path(gettempdir()) / f"strive-videos-{socket.gethostname()}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise StriveError(f"{folder} belongs to someone else: set TMPDIR to a folder of your own")
    for copy in folder.iterdir():
        if copy.stem.isdecimal() and not _is_alive(int(copy.stem)):
            copy.unlink(missing_ok=True)
    return folder


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True
