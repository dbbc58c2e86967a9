"""Jobs one after the other, beside the caller or not; no error is lost."""

from __future__ import annotations

import threading

import pytest

from strive_rl.writer import Writer


def failing() -> None:
    raise OSError(28, "No space left on device")


def test_in_the_foreground_a_job_is_done_at_once() -> None:
    done: list[int] = []
    with Writer(background=False) as writer:
        writer.do(lambda: done.append(1))
        assert done == [1]
        with pytest.raises(OSError, match="No space"):
            writer.do(failing)


def test_in_the_background_the_caller_goes_on_and_the_end_waits() -> None:
    may_end, done = threading.Event(), []
    with Writer(background=True) as writer:
        writer.do(lambda: done.append(may_end.wait(20)))
        assert not done
        may_end.set()
        writer.do(lambda: done.append(threading.current_thread().name.startswith("strive-checkpoint")))
    assert done == [True, True]


def test_an_error_is_raised_by_the_next_job_the_wait_or_the_end() -> None:
    with pytest.raises(OSError, match="No space"), Writer(background=True) as writer:
        writer.do(failing)
    with Writer(background=True) as writer:
        writer.do(failing)
        with pytest.raises(OSError, match="No space"):
            writer.do(lambda: None)
        writer.do(failing)
        with pytest.raises(OSError, match="No space"):
            writer.wait()
        writer.wait()


def test_another_error_is_not_hidden_by_that_of_a_job() -> None:
    def fails_twice() -> None:
        with Writer(background=True) as writer:
            writer.do(failing)
            raise KeyError("first")

    with pytest.raises(KeyError):
        fails_twice()
