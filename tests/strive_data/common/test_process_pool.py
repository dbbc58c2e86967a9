from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from strive_data.common.process_pool import TookTooLongError, WorkerDiedError, WorkerPool
from strive_data.errors import UsageError
from tests.strive_data.common.worker_calls import answer, die, die_once


@pytest.fixture
def pool() -> Iterator[WorkerPool[object]]:
    with WorkerPool[object](answer, 1, name="test") as pool:
        yield pool


def test_calls_are_answered_in_any_number_of_processes() -> None:
    with WorkerPool[object](answer, 2, name="test") as pool:
        futures = [pool.submit("sum", number, 1) for number in range(9)]
        assert [future.result() for future in futures] == list(range(1, 10))


def test_a_process_that_dies_costs_its_call_and_tells_its_exit_code(pool: WorkerPool[object]) -> None:
    futures = [pool.submit("exit", 7), pool.submit("sum", 2), pool.submit("kill"), pool.submit("sum", 3)]
    for future, code in ((futures[0], 7), (futures[2], -signal.SIGKILL)):
        with pytest.raises(WorkerDiedError) as raised:
            future.result()
        assert raised.value.exit_code == code
    assert [futures[1].result(), futures[3].result()] == [2, 3]


def test_workers_do_not_see_ctrl_c_even_while_they_start(pool: WorkerPool[object]) -> None:
    future = pool.submit("pid")
    while not (started := psutil.Process().children()) or not any(map(_is_worker, started)):
        time.sleep(0.001)
    for worker in filter(_is_worker, started):
        worker.send_signal(signal.SIGINT)
    assert future.result() in [worker.pid for worker in started]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def _is_worker(process: psutil.Process) -> bool:
    return any("spawn_main" in part for part in process.cmdline())


def test_one_that_is_killed_in_the_middle_of_its_answer_costs_no_other_call() -> None:
    with WorkerPool[object](answer, 2, name="test") as pool:
        half = pool.submit("half")
        others = [pool.submit("sum", number) for number in range(4)]
        with pytest.raises(WorkerDiedError):
            half.result()
        assert [other.result() for other in others] == [0, 1, 2, 3]


def test_one_that_is_killed_while_it_is_idle_costs_nothing(pool: WorkerPool[object]) -> None:
    first = pool.submit("pid").result()
    assert isinstance(first, int)
    os.kill(first, signal.SIGKILL)
    while psutil.Process(first).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert pool.submit("pid").result() != first


def test_one_that_is_killed_before_it_is_ready_starts_again(tmp_path: Path) -> None:
    prepare = partial(die_once, str(tmp_path / "died"))
    with WorkerPool[object](answer, 1, name="test", prepare=prepare) as pool:
        assert pool.submit("sum", 5).result() == 5
    assert (tmp_path / "died").exists()


def test_where_none_gets_ready_it_is_said() -> None:
    says = r"the test processes cannot start \(exit code 3\); a script"
    with (
        WorkerPool[object](answer, 1, name="test", prepare=die) as pool,
        pytest.raises(UsageError, match=says),
    ):
        pool.submit("sum", 5).result()


def test_a_call_may_take_so_long_only(pool: WorkerPool[object]) -> None:
    assert pool.submit("sum", 1, timeout_seconds=60).result() == 1
    late = pool.submit("hang", timeout_seconds=0.3)
    after = pool.submit("sum", 2, timeout_seconds=60)
    with pytest.raises(TookTooLongError):
        late.result()
    assert after.result() == 2


def test_errors_of_the_call_are_raised_with_their_traceback(pool: WorkerPool[object]) -> None:
    with pytest.raises(ZeroDivisionError, match="a defect of the code") as raised:
        pool.submit("defect").result()
    assert "worker_calls.py" in raised.value.__notes__[0]
    with pytest.raises(TimeoutError, match="the call's own"):
        pool.submit("os").result()
    with pytest.raises(RuntimeError, match="AwkwardError: twowords"):
        pool.submit("awkward").result()
    with pytest.raises(AttributeError, match="lambda"):
        pool.submit("unpicklable").result()
    assert pool.submit("sum", 4).result() == 4


def test_processes_are_renewed_after_so_many_calls() -> None:
    with WorkerPool[object](answer, 1, name="test", most_calls=2) as pool:
        pids = [pool.submit("pid").result() for _ in range(5)]
    assert pids[0] == pids[1]
    assert pids[2] == pids[3]
    assert len(set(pids)) == 3


def test_the_end_kills_what_hangs_and_gives_up_what_waits() -> None:
    pool = WorkerPool[object](answer, 1, name="test")
    pid = pool.submit("pid").result()
    assert isinstance(pid, int)
    hanging, waiting = pool.submit("hang"), pool.submit("sum", 1)
    time.sleep(0.1)
    pool.close()
    assert not psutil.pid_exists(pid)
    assert waiting.cancelled()
    with pytest.raises(WorkerDiedError):
        hanging.result()
