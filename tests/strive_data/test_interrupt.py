from __future__ import annotations

import os
import signal

import pytest

from strive_data.interrupt import Terminated, exit_code, terminable


def test_sigterm_is_raised_in_the_block_only() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_exit_codes_are_those_of_a_shell() -> None:
    assert (exit_code(KeyboardInterrupt()), exit_code(Terminated())) == (130, 143)
