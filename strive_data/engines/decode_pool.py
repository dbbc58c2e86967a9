"""Decode many videos in worker processes of this machine, each video at its own risk.

A decoder can hang in native code or take its process down; only killing the process helps. So every video
is read in a spawned worker that holds no torch, is killed at the time limit and replaced when it dies, is
refused more memory than the limit, and is renewed after some videos against leaks of native memory. What ends
in one of these ways is tried once more by the other reader (second_try.py).
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import resource
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

import av
import av.logging

from strive_data.common.process_pool import TookTooLongError, WorkerDiedError, WorkerPool
from strive_data.config import DecodeSettings
from strive_data.engines.engine import VideoPath
from strive_data.errors import FailureKind, SampleError

# A limit on the memory that the present process may ask for (Linux).


def limit_memory(more_bytes: int) -> None:
    """Let this process take `more_bytes` of private memory beyond what it holds now, for ever.

    What it asks for above that is refused: a MemoryError here and in FFmpeg, at the same place each time,
    while a watch on the resident size would end it sooner or later. Files mapped and shared memory do not
    count.
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


# The second try, by the other reader, after one hung, died or took too much memory.
#
# Used by every engine. Which reader gave a video's frames is recorded with them (VideoInfo.reader): a
# second
# try depends on limits of time, and so on the machine, unlike all else of a build.


class Disaster(Exception):  # noqa: N818  # no error of the code: it is caught where it is raised
    """A video's process hung, died or took too much memory; `error` says which."""

    def __init__(self, error: SampleError) -> None:
        super().__init__(error.message)
        self.error = error


def other_reader(settings: DecodeSettings) -> DecodeSettings | None:
    """Settings of the second try: decord where the reader is free and decord installed, else None.

    A reader that the user named is not replaced.
    """
    if settings.reader != "auto" or importlib.util.find_spec("decord") is None:
        return None
    return replace(settings, reader="decord")


def first_reader(settings: DecodeSettings) -> str:
    """Name of the reader of the first try: of `auto` the planned PyAV reader."""
    return "pyav" if settings.reader == "auto" else settings.reader


def both_failed(
    path: VideoPath, first: tuple[str, SampleError], second: tuple[str, SampleError]
) -> SampleError:
    """One error for two tries (reader, error), of the first one's kind: the path once, the words of both."""
    said = f"{path}: "
    words = (
        f"{reader}: {error.kind}: {error.message.removeprefix(said)}" for reader, error in (first, second)
    )
    return SampleError(first[1].kind, said + "; ".join(words))


Job = tuple[str, VideoPath]
T = TypeVar("T")
Read = Callable[[VideoPath, DecodeSettings], T]

VIDEOS_PER_WORKER = 200
_SPARE_JOBS = 2
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Pending(Generic[T]):
    """A video that was handed to a worker."""

    path: VideoPath
    future: Future[T]


class DecodingPool(Generic[T]):
    """`workers` killable processes that read videos; a context manager, whose end ends them.

    `read` must be picklable (a function of a module).
    """

    def __init__(self, settings: DecodeSettings, workers: int, *, read: Read[T]) -> None:
        self._settings = settings
        self._pool = WorkerPool(
            read,
            workers,
            name="decoding",
            prepare=partial(_prepare, os.getpid(), settings.memory_bytes),
            most_calls=VIDEOS_PER_WORKER,
        )

    def __enter__(self) -> DecodingPool[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, and give up what was submitted."""
        self._pool.close()

    def submit(self, path: VideoPath) -> Pending[T]:
        """Have a video read."""
        return Pending(path=path, future=self._schedule(path, self._settings))

    def result(self, pending: Pending[T]) -> T | SampleError:
        """What came of a video, after a second try where the first one ended its process.

        Raises UsageError if no worker can start.
        """
        path, settings = pending.path, self._settings
        try:
            return _outcome(path, pending.future, settings)
        except Disaster as first:
            other = other_reader(settings)
            if other is None:
                return first.error
            second = _second_result(path, self._schedule(path, other), other)
            if not isinstance(second, SampleError):
                return second
            return both_failed(path, (first_reader(settings), first.error), (other.reader, second))

    def _schedule(self, path: VideoPath, settings: DecodeSettings) -> Future[T]:
        return self._pool.submit(path, settings, timeout_seconds=settings.timeout_seconds)


def decode_videos(
    jobs: Iterable[Job], settings: DecodeSettings, workers: int, *, read: Read[T]
) -> Iterator[tuple[str, T | SampleError]]:
    """Yield (name, what `read` gives or why it does not) for each job (name, path), in the order of the jobs.

    `workers` processes, 0 for one a core. At most workers + 2 videos are being decoded or wait decoded, so
    memory stays flat however many jobs there are; `jobs` is drawn from as they are needed. A video that
    takes longer than `settings.timeout_seconds` gives SampleError(timeout), one whose process dies
    SampleError(crash), one that needs more than `settings.memory_bytes` SampleError(oom); no other video is
    touched. Where the settings leave the reader open, such a video is read once more, by the other reader;
    VideoInfo.reader says which one it was, and an error of both carries the words of both. `read` must be
    picklable (a function of a module). Errors in the code itself are raised; UsageError if no worker can
    start.
    """
    count = workers or os.cpu_count() or 1
    waiting: deque[tuple[str, Pending[T]]] = deque()
    source = iter(jobs)
    with DecodingPool(settings, count, read=read) as pool:
        while True:
            for name, path in islice(source, count + _SPARE_JOBS - len(waiting)):
                waiting.append((name, pool.submit(path)))
            if not waiting:
                return
            name, pending = waiting.popleft()
            yield name, pool.result(pending)


def _prepare(parent: int, memory_bytes: int) -> None:
    """Make a worker quiet, bounded, and make it die with its parent even while it hangs in native code."""
    # The decoder's complaints are counted in decode_errors.
    av.logging.set_level(av.logging.PANIC)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # What the readers load for good (numpy's buffers among it) is not the video's.
        importlib.import_module("strive_data.decode")
        limit_memory(memory_bytes)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _second_result(path: VideoPath, future: Future[T], settings: DecodeSettings) -> T | SampleError:
    try:
        return _outcome(path, future, settings)
    except Disaster as second:
        return second.error


def _outcome(path: VideoPath, future: Future[T], settings: DecodeSettings) -> T | SampleError:
    """The result, or the reader's own error. Raises Disaster where the process was ended or ended itself."""
    try:
        result: T = future.result()
    except SampleError as error:
        return error
    except TookTooLongError as error:
        message = f"{path}: not decoded within {settings.timeout_seconds:g} s"
        raise Disaster(SampleError(FailureKind.TIMEOUT, message)) from error
    except WorkerDiedError as error:
        hint = (
            " (killed: perhaps the machine ran out of memory)" if error.exit_code == -signal.SIGKILL else ""
        )
        message = f"{path}: the decoding process died with exit code {error.exit_code}{hint}"
        raise Disaster(SampleError(FailureKind.CRASH, message)) from error
    except MemoryError as error:
        message = f"{path}: decoding needs more than decode.memory_bytes = {settings.memory_bytes}"
        raise Disaster(SampleError(FailureKind.OOM, message)) from error
    return result
