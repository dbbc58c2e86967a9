"""Read videos in worker processes of this machine, so that a bad video affects no other.

A decoder can hang in native code or crash its process; only killing the process helps. Every video is read in
a spawned worker without torch. The worker is killed at the time limit, replaced when it dies, cannot allocate
more than the memory limit, and is replaced after some videos because native code leaks memory. A video that
times out, crashes or exceeds its memory limit is retried once with the other reader. The reader that gave the
frames is recorded with them (VideoInfo.reader): unlike all else of a build, a retry depends on the machine.

A video behind a URL is copied to this machine while it is read: readers go over the whole file twice (its
packets, then the frames), so reading by ranges would save nothing and cost a request a packet.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import gettempdir
from typing import TypeVar

import av
import av.logging

from strive_data.common.process_pool import TookTooLongError, WorkerDiedError, WorkerPool, in_order
from strive_data.common.storage import open_remote, require_room
from strive_data.config import DecodeSettings
from strive_data.engines.engine import VideoPath
from strive_data.errors import DamagedError, FailureKind, SampleError, StriveError
from strive_data.schema import LocalVideo

K = TypeVar("K")
T = TypeVar("T")


def timed_read(
    read: Callable[[LocalVideo, DecodeSettings], T], path: VideoPath, settings: DecodeSettings
) -> tuple[T, float]:
    """What `read` gives of a video of this machine or behind a URL, and the seconds that it took, a copy from
    the URL included; errors name the URL.

    Raises SampleError (missing) where there is no such video, StriveError where the storage cannot be asked,
    or the disk has no room.
    """
    started = time.perf_counter()
    with fetched(path) if isinstance(path, str) else nullcontext(path) as video:
        try:
            found = read(video, settings)
        except SampleError as error:
            raise SampleError(error.kind, error.message.replace(str(video), str(path))) from error
    return found, time.perf_counter() - started


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


def limit_memory(more_bytes: int) -> None:
    """Limit this process to `more_bytes` of private memory beyond what it holds now, permanently (Linux).

    Allocations above the limit fail, in FFmpeg too, at the same place in every run; a monitor of the resident
    size would be less exact. Mapped files and shared memory do not count.
    """
    limit_bytes = data_bytes() + more_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit_bytes = min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def data_bytes() -> int:
    """Private writable memory of this process: what RLIMIT_DATA counts."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "VmData":
            return int(value.split()[0]) * 1024
    raise OSError("/proc/self/status has no VmData")


class WorkerFailedError(SampleError):
    """The process that read a video timed out, died or exceeded its memory limit."""


def other_reader(settings: DecodeSettings) -> DecodeSettings | None:
    """Settings of the retry: decord if it is installed and the settings leave the reader open, else None."""
    if settings.reader != "auto" or importlib.util.find_spec("decord") is None:
        return None
    return replace(settings, reader="decord")


Read = Callable[[VideoPath, DecodeSettings], T]

VIDEOS_PER_WORKER = 200
_SPARE_JOBS = 2
_PR_SET_PDEATHSIG = 1


class DecodingPool(WorkerPool[T]):
    """`workers` processes that read videos; a context manager that ends them.

    `read` must be picklable (a function of a module).
    """

    def __init__(self, settings: DecodeSettings, workers: int, *, read: Read[T]) -> None:
        self._settings = settings
        prepare = partial(_prepare, os.getpid(), settings.memory_bytes)
        super().__init__(read, workers, name="decoding", prepare=prepare, most_calls=VIDEOS_PER_WORKER)

    def start(self, path: VideoPath, settings: DecodeSettings | None = None) -> Future[T]:
        """Submit a video, to be read with these settings or those of the pool."""
        settings = settings or self._settings
        return self.submit(path, settings, timeout_seconds=settings.timeout_seconds)

    def result(self, path: VideoPath, future: Future[T]) -> T | SampleError:
        """The result for a video, retried once after a WorkerFailedError; if that fails too, one error of the
        first kind with both messages. Raises UsageError if no worker can start."""
        first = _outcome(path, future, self._settings)
        if not isinstance(first, WorkerFailedError) or (other := other_reader(self._settings)) is None:
            return first
        second = _outcome(path, self.start(path, other), other)
        if not isinstance(second, SampleError):
            return second
        tries = {"pyav": first, other.reader: second}  # of `auto` PyAV is the first
        said = (f"{by}: {e.kind}: {e.message.removeprefix(f'{path}: ')}" for by, e in tries.items())
        return SampleError(first.kind, f"{path}: {'; '.join(said)}")


def decode_videos(
    jobs: Iterable[tuple[K, VideoPath]], settings: DecodeSettings, workers: int, *, read: Read[T]
) -> Iterator[tuple[K, T | SampleError]]:
    """Yield (key, what `read` gives or why it does not) for each job (key, path), in the order of the jobs.

    `workers` processes, 0: one a core. At most workers + 2 videos are in decoding or decoded and not yet
    taken, so memory stays flat; `jobs` is drawn from as needed. A video that takes longer than
    `settings.timeout_seconds` gives SampleError(timeout), one whose process dies SampleError(crash), one that
    needs more than `settings.memory_bytes` SampleError(oom). If the settings leave the reader open, such a
    video is first retried with the other reader; an error of both has both messages. `read` must be picklable
    (a function of a module). Errors in the code are raised; UsageError if no worker can start.
    """
    count = workers or os.cpu_count() or 1
    with DecodingPool(settings, count, read=read) as pool:
        for (key, path), future in in_order(jobs, lambda job: pool.start(job[1]), most=count + _SPARE_JOBS):
            yield key, pool.result(path, future)


def _prepare(parent: int, memory_bytes: int) -> None:
    """Prepare a worker: no log, a memory limit, and an end with its parent even if it hangs in native
    code."""
    # Messages of the decoder are counted in decode_errors.
    av.logging.set_level(av.logging.PANIC)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # Memory of the imported modules must not count as the video's.
        importlib.import_module("strive_data.decode")
        limit_memory(memory_bytes)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _outcome(path: VideoPath, future: Future[T], settings: DecodeSettings) -> T | SampleError:
    """The result, the reader's own error, or a WorkerFailedError."""
    try:
        return future.result()
    except SampleError as error:
        return error
    except TookTooLongError:
        kind, what = FailureKind.TIMEOUT, f"not decoded within {settings.timeout_seconds:g} s"
    except WorkerDiedError as error:
        killed = error.exit_code == -signal.SIGKILL
        hint = " (killed: perhaps the machine ran out of memory)" if killed else ""
        kind, what = FailureKind.CRASH, f"the decoding process died with exit code {error.exit_code}{hint}"
    except MemoryError:
        kind = FailureKind.OOM
        what = f"decoding needs more than decode.memory_bytes = {settings.memory_bytes}"
    return WorkerFailedError(kind, f"{path}: {what}")
