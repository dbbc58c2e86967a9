"""Decode many videos in worker processes of this machine, each video at its own risk.

A decoder can hang in native code or take its process down; only killing the process helps. So every video
is read in a spawned worker that holds no torch, is killed at the time limit and replaced when it dies, and
is renewed after some videos against leaks of native memory.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from typing import TypeVar

import av
import av.logging
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from strive_data.config import DecodeSettings
from strive_data.errors import FailureKind, SampleError, UsageError

Job = tuple[str, Path]
T = TypeVar("T")
Read = Callable[[Path, DecodeSettings], T]

VIDEOS_PER_WORKER = 200
_SPARE_JOBS = 2
_PR_SET_PDEATHSIG = 1


def decode_videos(
    jobs: Iterable[Job], settings: DecodeSettings, workers: int, *, read: Read[T]
) -> Iterator[tuple[str, T | SampleError]]:
    """Yield (name, what `read` gives or why it does not) for each job (name, path), in the order of the jobs.

    `workers` processes, 0 for one a core. At most workers + 2 videos are being decoded or wait decoded, so
    memory stays flat however many jobs there are; `jobs` is drawn from as they are needed. A video that
    takes longer than `settings.timeout_seconds` gives SampleError(timeout), one whose process dies
    SampleError(crash), one that runs out of memory SampleError(oom); no other video is touched. `read` must
    be picklable (a function of a module). Errors in the code itself are raised; UsageError if no worker
    can start.
    """
    count = workers or os.cpu_count() or 1
    # Spawn: a forked child would inherit torch, its threads and their locks.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(
        max_workers=count,
        max_tasks=VIDEOS_PER_WORKER,
        initializer=_start_worker,
        initargs=(os.getpid(),),
        context=context,
    )
    waiting: deque[tuple[Job, ProcessFuture[T]]] = deque()
    source = iter(jobs)
    try:
        while True:
            for job in islice(source, count + _SPARE_JOBS - len(waiting)):
                waiting.append((job, _schedule(pool, read, job, settings)))
            if not waiting:
                return
            yield _result(*waiting.popleft(), settings)
    except BrokenProcessPool as error:
        hint = "a script that calls this must do so under `if __name__ == '__main__':`"
        raise UsageError(f"the decoding processes cannot start ({error}); {hint}") from error
    finally:
        pool.stop()
        pool.join()


def _start_worker(parent: int) -> None:
    """Make a worker quiet, and make it die with its parent even while it hangs in native code."""
    # The decoder's complaints are counted in decode_errors.
    av.logging.set_level(av.logging.PANIC)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _schedule(pool: ProcessPool, read: Read[T], job: Job, settings: DecodeSettings) -> ProcessFuture[T]:
    return pool.schedule(read, args=(job[1], settings), timeout=settings.timeout_seconds)


def _result(job: Job, future: ProcessFuture[T], settings: DecodeSettings) -> tuple[str, T | SampleError]:
    name, path = job
    try:
        return name, future.result()
    except SampleError as error:
        return name, error
    except TimeoutError:
        message = f"{path}: not decoded within {settings.timeout_seconds:g} s"
        return name, SampleError(FailureKind.TIMEOUT, message)
    except ProcessExpired as error:
        hint = " (killed: perhaps the machine ran out of memory)" if error.exitcode == -signal.SIGKILL else ""
        message = f"{path}: the decoding process died with exit code {error.exitcode}{hint}"
        return name, SampleError(FailureKind.CRASH, message)
    except MemoryError:
        return name, SampleError(FailureKind.OOM, f"{path}: not enough memory to decode it")
