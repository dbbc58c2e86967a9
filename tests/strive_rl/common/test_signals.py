"""Signals: the first is noted, the second ends the process, one sent twice at once is one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from strive_data.common.signals import ENDING
from strive_rl.common.signals import StoppedError, StopRequest, listening

LOOP = """
import sys, time
from strive_rl.common.signals import listening
with listening() as asked:
    print("ready", flush=True)
    while asked.signal is None:
        time.sleep(0.02)
    print("asked", asked.signal, flush=True)
    if "stay" in sys.argv:
        time.sleep(60)
"""


def looping(*arguments: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", LOOP, *arguments],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    return child


@pytest.mark.parametrize("number", ENDING)
def test_the_first_signal_is_only_noted(number: signal.Signals) -> None:
    child = looping()
    child.send_signal(number)
    shown, answered = child.communicate(timeout=20)
    assert shown == f"asked {int(number)}\n"
    assert answered == f"\n{number.name}: finishing this step, then saving; again to stop now\n"
    assert child.returncode == 0


def test_a_second_one_ends_the_process_at_once() -> None:
    child = looping("stay")
    child.send_signal(signal.SIGTERM)
    assert child.stdout
    assert child.stdout.readline() == f"asked {int(signal.SIGTERM)}\n"
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=1.2)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=20) == -signal.SIGINT
    child.communicate()


def test_the_same_signal_by_two_ways_is_one() -> None:
    with listening() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.signal == signal.SIGTERM


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in ENDING]
    with listening():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in ENDING] == before


def test_a_closed_terminal_is_ignored_under_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with listening() as asked:
            os.kill(os.getpid(), signal.SIGHUP)
        assert asked.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_a_stop_says() -> None:
    stopped = StoppedError(signal.SIGTERM, 12)
    assert (str(stopped), stopped.exit_code) == ("stopped by SIGTERM after step 12", 143)
    assert StoppedError(signal.SIGINT, 1).exit_code == 130
    assert StopRequest().signal is None
