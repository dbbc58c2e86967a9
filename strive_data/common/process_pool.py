"""Calls in processes that may hang or die: such a failure affects its own call only.

Each worker has its own pipe and a thread that waits for it. Pools whose workers share a pipe and its locks
(concurrent.futures, pebble) break as a whole when a worker is killed in the middle of a message or while
idle.
"""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import ForkingPickler
from typing import Generic, Self, TypeVar

from strive_data.errors import UsageError

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")

STARTS = 3
"""How often a worker may die before it is ready until the pool gives up."""
SECONDS_TO_DIE = 5.0
"""How long to wait for the exit code of a process whose pipe has closed."""
NO_GUARD = "a script that calls this must do so under `if __name__ == '__main__':`"


class WorkerDiedError(Exception):
    """A call's process ended before it answered; `exit_code` as `multiprocessing.Process.exitcode`."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"the process died with exit code {exit_code}")
        self.exit_code = exit_code


class TookTooLongError(Exception):
    """A call's process was killed at the time limit."""


@dataclass(kw_only=True, eq=False)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    calls: int = 0


class WorkerPool(Generic[T]):
    """`count` spawned processes that answer `call(*args)`; a context manager, whose end kills them.

    `prepare` is called once in each process before its first call, and a process is renewed after
    `most_calls`. Both functions must be picklable. `name` says in errors what the processes are for.
    """

    def __init__(
        self,
        call: Callable[..., T],
        count: int,
        *,
        name: str,
        prepare: Callable[[], None] | None = None,
        most_calls: int | None = None,
    ) -> None:
        self._call, self._prepare, self._most_calls, self._name = call, prepare, most_calls, name
        # Spawn: a forked child would inherit torch, polars, their threads and their locks.
        self._context = multiprocessing.get_context("spawn")
        self._threads = ThreadPoolExecutor(count, name)
        self._own = threading.local()
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._closed = self._was_ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def submit(self, *args: object, timeout_seconds: float | None = None) -> Future[T]:
        """Submit a call. Its time counts from when a process is free for it.

        The future raises what the call raises, WorkerDiedError, TookTooLongError, or UsageError if no process
        can start.
        """
        return self._threads.submit(self._answer, args, timeout_seconds)

    def close(self) -> None:
        """Kill the processes and cancel what was submitted."""
        with self._lock:
            self._closed = True
            for worker in self._workers:
                worker.process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in tuple(self._workers):
            self._end(worker)

    def _answer(self, args: tuple[object, ...], timeout_seconds: float | None) -> T:
        """Runs in a thread, which keeps its worker for the next call."""
        worker = self._ready_worker()
        worker.calls += 1
        try:
            worker.pipe.send(args)
            if not worker.pipe.poll(timeout_seconds):
                self._end(worker)
                raise TookTooLongError
            succeeded, answer = worker.pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerDiedError(self._end(worker, dying=True)) from error
        if not succeeded:
            raise answer
        result: T = answer
        return result

    def _ready_worker(self) -> _Worker:
        """The thread's worker, or a new one if it is dead or has reached `most_calls`."""
        own: _Worker | None = getattr(self._own, "worker", None)
        if own is not None:
            if own.process.is_alive() and own.calls != self._most_calls:
                return own
            self._end(own)
        for _ in range(STARTS):
            worker = self._own.worker = self._start()
            try:
                worker.pipe.recv()
            except (EOFError, OSError):
                exit_code = self._end(worker, dying=True)
            else:
                self._was_ready = True
                return worker
        likely = "perhaps the machine ran out of memory" if self._was_ready else NO_GUARD
        raise UsageError(f"the {self._name} processes cannot start (exit code {exit_code}); {likely}")

    def _start(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            ours, theirs = self._context.Pipe()
            process = self._context.Process(
                target=_serve, args=(theirs, self._call, self._prepare), name=self._name, daemon=True
            )
            with _without_ctrl_c():
                process.start()
            # If only the child holds it, it closes with the child, and reading our end raises EOFError.
            theirs.close()
            worker = _Worker(process=process, pipe=ours)
            self._workers.add(worker)
            return worker

    def _end(self, worker: _Worker, *, dying: bool = False) -> int:
        """Kill a worker, unless it is dying by itself; its exit code."""
        with self._lock:
            self._workers.discard(worker)
        if dying:
            worker.process.join(SECONDS_TO_DIE)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        return worker.process.exitcode or 0


def in_order(source: Iterable[A], submit: Callable[[A], B], *, most: int) -> Iterator[tuple[A, B]]:
    """(item, what `submit` made of it) in the order of the items.

    `source` is drawn from as needed: at most `most` are submitted and not yet taken.
    """
    waiting: deque[tuple[A, B]] = deque()
    items = iter(source)
    while True:
        waiting.extend((item, submit(item)) for item in islice(items, most - len(waiting)))
        if not waiting:
            return
        yield waiting.popleft()


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes that the block starts never see Ctrl-C, which reaches all of a terminal, not even while they
    import: the pool's own process ends them."""
    resource_tracker.ensure_running()  # its own start unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, call: Callable[..., object], prepare: Callable[[], None] | None) -> None:
    """The main loop of a worker: one answer for each call, until the pipe is closed."""
    if prepare is not None:
        prepare()
    pipe.send(None)
    while True:
        try:
            args = pipe.recv()
        except EOFError:
            return
        pipe.send_bytes(_answer_to(call, args))


def _answer_to(call: Callable[..., object], args: tuple[object, ...]) -> bytes | memoryview:
    """(True, result) or (False, error), pickled here, so that an error of pickling is reported too."""
    try:
        return ForkingPickler.dumps((True, call(*args)))
    except Exception as error:  # not handled, but raised where the call was asked for
        return pickle.dumps((False, _portable(error)))


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note; if it cannot be pickled, a RuntimeError with its traceback."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.dumps(error)
        copy.copy(error)  # constructs a new one, as unpickling does
    except Exception:  # whatever the error's own pickling raises
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
