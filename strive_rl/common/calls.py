"""Calls of a user's function, plain or async: at most so many at once, with a time-out and several tries.

A plain function runs in a thread of its own where it may be slow. A thread that exceeds its time cannot be
stopped: it is left behind as a daemon and its answer is dropped.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from inspect import iscoroutinefunction
from pathlib import Path
from threading import Thread, current_thread, main_thread
from traceback import extract_tb
from typing import Any

from strive_data.common.signals import GIVE_UP
from strive_data.errors import StriveError, Terminated
from strive_rl.common.model_folder import one_line

# Before the second try of a call; each further wait is twice as long, up to LONGEST_WAIT_SECONDS.
WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class CallLimits:
    """How a function is called: `at_once` calls together, each ended after `timeout_seconds` (None: never)
    and tried again up to `retries` times."""

    at_once: int = 1
    timeout_seconds: float | None = None
    retries: int = 0


class NoAnswerError(Exception):
    """A call took longer than its time-out, or what it asked gave no answer that can be used. `wait_seconds`:
    what it asked wants so long a pause before the next try."""

    def __init__(self, text: str, wait_seconds: float = 0.0) -> None:
        super().__init__(text)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a call returned, or the error of its last try; `tries` counts all."""

    value: Any = None
    error: BaseException | None = None
    tries: int = 1

    @property
    def failure(self) -> str:
        """What to say of the error, on one line; "" where there is none."""
        error, tried = self.error, f" after {self.tries} tries" if self.tries > 1 else ""
        if error is None:
            return ""
        if isinstance(error, NoAnswerError):
            return f"failed: {error}{tried}"
        last, name, said = extract_tb(error.__traceback__)[-1], type(error).__name__, one_line(error)
        said = said if said.startswith(name) else f"{name}: {said}"
        return f"raised {said} ({Path(last.filename).name}, line {last.lineno}){tried}"


def call_all(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], limits: CallLimits
) -> list[Outcome]:
    """The outcome of the function for each tuple of arguments, in their order.

    A plain function without concurrency and time-out is called in this thread, one call after the other.
    An error of ours (StriveError) is final: it is not tried again. What a signal raises is raised.
    """
    slow = limits.at_once > 1 or limits.timeout_seconds is not None or limits.retries > 0
    if not slow and not _is_async(function):
        return [_call_here(function, each) for each in arguments]
    return _loop().run_until_complete(_call_all(function, arguments, limits))


async def _call_all(
    function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], limits: CallLimits
) -> list[Outcome]:
    room = asyncio.Semaphore(limits.at_once)

    async def call(each: tuple[Any, ...]) -> Outcome:
        async with room:
            return await _tried(function, each, limits)

    return list(await asyncio.gather(*map(call, arguments)))


async def _tried(function: Callable[..., Any], arguments: tuple[Any, ...], limits: CallLimits) -> Outcome:
    wait = WAIT_SECONDS
    for tries in range(1, limits.retries + 2):
        outcome = await _call_once(function, arguments, limits.timeout_seconds)
        if outcome.error is None or isinstance(outcome.error, StriveError) or tries > limits.retries:
            break
        asked = outcome.error.wait_seconds if isinstance(outcome.error, NoAnswerError) else 0.0
        await asyncio.sleep(min(max(wait, asked), LONGEST_WAIT_SECONDS))
        wait = min(2 * wait, LONGEST_WAIT_SECONDS)
    return Outcome(value=outcome.value, error=outcome.error, tries=tries)


async def _call_once(
    function: Callable[..., Any], arguments: tuple[Any, ...], timeout_seconds: float | None
) -> Outcome:
    try:
        async with asyncio.timeout(timeout_seconds) as limit:
            return await (_awaited if _is_async(function) else _in_thread)(function, arguments)
    except TimeoutError:
        if not limit.expired():
            raise
        return Outcome(error=NoAnswerError(f"no answer within {timeout_seconds:g} s"))


async def _awaited(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
    try:
        return Outcome(value=await function(*arguments))
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():  # The time-out's; else the user's code raised it.
            raise
        return Outcome(error=error)
    except BaseException as error:  # The user's code, sys.exit included.
        if _ends_the_command(error):
            raise
        return Outcome(error=error)


async def _in_thread(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Outcome] = loop.create_future()

    def settle(outcome: Outcome) -> None:
        if not answer.done():
            answer.set_result(outcome)

    def work() -> None:
        outcome = _call_here(function, arguments)
        with suppress(RuntimeError):  # The loop is closed: nobody waits for this answer any more.
            loop.call_soon_threadsafe(settle, outcome)

    Thread(target=work, name="strive-call", daemon=True).start()
    return await answer


def _call_here(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
    process = os.getpid()
    try:
        return Outcome(value=function(*arguments))
    except BaseException as error:  # The user's code, sys.exit included.
        if _ends_the_command(error):
            raise
        return Outcome(error=error)
    finally:
        if os.getpid() != process:  # One that the function forked would go on with the run, as a second.
            os._exit(0)


def _ends_the_command(error: BaseException) -> bool:
    """Whether a signal raised it in the main thread: by `terminable`, or by Python's own handler of SIGINT,
    which training replaces."""
    by_signal = GIVE_UP.is_set() or signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ends = isinstance(error, Terminated) or (isinstance(error, KeyboardInterrupt) and by_signal)
    return ends and current_thread() is main_thread()


def _is_async(function: Callable[..., Any]) -> bool:
    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One loop for the process: what a user's async function keeps, as a session, belongs to it."""
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop
