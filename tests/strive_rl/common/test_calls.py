"""A user's function is called with others, within its time, and again where it failed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from strive_data.common.signals import terminable
from strive_data.errors import StriveError, Terminated, UsageError
from strive_rl.common import calls
from strive_rl.common.calls import CallLimits, NoAnswerError, call_all
from strive_rl.common.signals import listening


def test_by_default_one_call_follows_the_other_in_this_thread() -> None:
    outcomes = call_all(lambda n: (n, threading.current_thread().name), [(3,), (1,)], CallLimits())
    assert [outcome.value for outcome in outcomes] == [(3, "MainThread"), (1, "MainThread")]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_four_calls_run_together_and_answer_in_order(kind: str) -> None:
    """Each waits until it is one of four, and the earlier ones end later."""
    together, together_later, lock = threading.Barrier(4, timeout=30), asyncio.Barrier(4), threading.Lock()
    running: Counter[str] = Counter()

    def count(change: int) -> None:
        with lock:
            running["now"] += change
            running["most"] = max(running["most"], running["now"])

    def plain(n: int) -> int:
        count(1)
        together.wait()
        time.sleep(0.005 * (4 - n % 4))
        count(-1)
        return n

    async def later(n: int) -> int:
        count(1)
        await asyncio.wait_for(together_later.wait(), 30)
        await asyncio.sleep(0.005 * (4 - n % 4))
        count(-1)
        return n

    function = plain if kind == "plain" else later
    outcomes = call_all(function, [(n,) for n in range(8)], CallLimits(at_once=4))
    assert [outcome.value for outcome in outcomes] == list(range(8))
    assert running["most"] == 4


def test_a_call_that_sleeps_too_long_ends_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "WAIT_SECONDS", 0.01)
    times: Counter[int] = Counter()
    over = threading.Event()

    def sleepy(n: int) -> int:
        times[n] += 1
        if n == 1 or (n == 2 and times[n] == 1):
            over.wait()
        return n

    limits = CallLimits(at_once=3, timeout_seconds=0.5, retries=1)
    awake, asleep, once = call_all(sleepy, [(0,), (1,), (2,)], limits)
    over.set()  # only now: nobody waited for the sleepers
    assert (awake.value, awake.tries) == (0, 1)
    assert (str(asleep.error), asleep.tries) == ("no answer within 0.5 s", 2)
    assert (once.value, once.tries) == (2, 2)


def test_the_next_try_waits_as_long_as_what_was_asked_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    def busy(wait: float) -> None:
        raise NoAnswerError("busy", wait)

    monkeypatch.setattr(calls.asyncio, "sleep", sleep)
    call_all(busy, [(7.0,), (0.0,), (3600.0,)], CallLimits(retries=2))
    assert waits == [7, 7, 1, 2, 30, 30]


@pytest.mark.parametrize("end", ["return 1", "sys.exit(3)"])
def test_a_process_that_the_function_forks_does_not_go_on_with_the_run(end: str) -> None:
    program = (
        "import os, sys\n"
        "from strive_rl.common.calls import CallLimits, NoAnswerError, call_all\n"
        "def reward():\n"
        "    if (child := os.fork()) == 0:\n"
        f"        {end}\n"
        "    os.waitpid(child, 0)\n"
        "    return 2\n"
        "for outcome in call_all(reward, [()], CallLimits()):\n"
        "    print(outcome.value, outcome.error, flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("2 None\n", 0)


def test_errors_of_ours_are_final_and_those_of_others_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "WAIT_SECONDS", 0.001)
    errors = (UsageError("wrong key"), SystemExit(3), TimeoutError("theirs"))

    async def raising(n: int) -> None:
        raise errors[n]

    outcomes = call_all(raising, [(0,), (1,), (2,)], CallLimits(at_once=2, retries=2))
    assert [outcome.error for outcome in outcomes] == list(errors)
    assert [outcome.tries for outcome in outcomes] == [1, 3, 3]
    assert isinstance(outcomes[0].error, StriveError)


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("seconds", [None, 5.0])
def test_no_exception_of_the_function_ends_or_hangs_the_process(kind: str, seconds: float | None) -> None:
    def plain(n: int) -> None:
        raise KeyboardInterrupt("not from a terminal")

    async def later(n: int) -> None:
        raise asyncio.CancelledError("not by a time-out")

    function, error = (plain, KeyboardInterrupt) if kind == "plain" else (later, asyncio.CancelledError)
    outcomes = call_all(function, [(0,), (1,)], CallLimits(at_once=2, timeout_seconds=seconds))
    assert [type(outcome.error) for outcome in outcomes] == [error, error]


def test_ctrl_c_ends_the_calls_but_in_training_it_is_the_functions_own() -> None:
    """Training has its own handler of SIGINT, so that Ctrl-C raises nothing there."""

    def plain() -> None:
        raise KeyboardInterrupt("own")

    async def later() -> None:
        raise KeyboardInterrupt("own")

    # A shell that starts the tests in the background has SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            call_all(plain, [()], CallLimits())
    finally:
        signal.signal(signal.SIGINT, before)
    with listening():
        outcomes = [call_all(function, [()], CallLimits())[0] for function in (plain, later)]
    assert [repr(outcome.error) for outcome in outcomes] == ["KeyboardInterrupt('own')"] * 2


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_to_another_command_ends_the_calls(number: int, error: type[BaseException]) -> None:
    """A study trains, too: a signal in a reward ends it, and is no error of the reward."""
    with terminable(lambda _: None), pytest.raises(error):
        call_all(signal.raise_signal, [(number,)], CallLimits())
