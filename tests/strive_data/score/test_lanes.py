from __future__ import annotations

import threading

import torch

from strive_data.score.lanes import lane_count, lanes


def test_each_lane_has_one_thread_and_the_setting_is_put_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with lanes(3) as pool:
            assert torch.get_num_threads() == 1
            assert list(pool.map(lambda _: torch.get_num_threads(), range(6))) == [1] * 6
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_has_not_begun_is_given_up_at_the_end() -> None:
    go_on, begun = threading.Event(), list[int]()

    def work(number: int) -> None:
        begun.append(number)
        go_on.wait(10)

    with lanes(1) as pool:
        futures = [pool.submit(work, number) for number in range(50)]
        threading.Timer(0.05, go_on.set).start()
    assert futures[0].done()
    assert sum(future.cancelled() for future in futures) == 50 - len(begun) > 0


def test_a_gpu_has_few_lanes_and_a_cpu_one_a_thread() -> None:
    assert lane_count(torch.device("cpu"), 16) == 16
    assert lane_count(torch.device("cpu"), None) == torch.get_num_threads()
    assert lane_count(torch.device("cuda"), 16) == 4
