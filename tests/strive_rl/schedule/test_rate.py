"""Learning rates by hand."""

from __future__ import annotations

from typing import Any

import pytest

from strive_rl.config import OptimSettings
from strive_rl.schedule import learning_rate


def rates(steps: int, of: int | None = None, **settings: Any) -> list[float]:
    return [learning_rate(step, OptimSettings(lr=8.0, **settings), of or steps) for step in range(steps)]


def test_warm_up_then_constant() -> None:
    assert rates(6, warmup_steps=4) == [2, 4, 6, 8, 8, 8]


@pytest.mark.parametrize("step", [0, 1, 10_000])
def test_no_warmup(step: int) -> None:
    assert learning_rate(step, OptimSettings(lr=3e-6), 20_000) == 3e-6


def test_linear() -> None:
    assert rates(4, schedule="linear") == [8, 6, 4, 2]
    assert rates(6, schedule="linear", warmup_steps=2) == [4, 8, 8, 6, 4, 2]
    assert rates(4, schedule="linear", final_lr=4.0) == [8, 7, 6, 5]


def test_cosine() -> None:
    # 4·(1 + cos 0, π/3, 2π/3)
    assert rates(3, schedule="cosine") == pytest.approx([8, 6, 2])
    assert rates(4, schedule="cosine", warmup_steps=1, final_lr=2.0) == pytest.approx([8, 8, 6.5, 3.5])


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_fall_over_fewer_steps_than_the_run_stays_down(schedule: Any) -> None:
    short = rates(6, schedule=schedule, decay_steps=3, final_lr=1.0)
    assert short[:3] == rates(3, schedule=schedule, final_lr=1.0)
    assert short[3:] == [1, 1, 1]
    # The same, however long the run: it can go on for longer than was planned.
    assert short == rates(6, of=600, schedule=schedule, decay_steps=3, final_lr=1.0)


def test_warm_up_longer_than_the_run() -> None:
    assert rates(2, schedule="cosine", warmup_steps=4) == [2, 4]
