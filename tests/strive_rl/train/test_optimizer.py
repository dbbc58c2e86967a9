"""AdamW by hand, why bfloat16 weights need float32 masters, and the rate over the steps."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch

from strive_rl.config import OptimSettings
from strive_rl.train.optimizer import Optimizer, learning_rate


def parameter(dtype: torch.dtype, value: float = 1.0) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.full((3,), value, dtype=dtype))


def test_a_first_step_is_the_learning_rate_against_the_sign() -> None:
    """AdamW with zero state: m̂/√v̂ = sign of the gradient."""
    weight = parameter(torch.float32)
    optimizer = Optimizer([("w", weight)], OptimSettings(lr=1e-3))
    weight.grad = torch.tensor([2.0, -3.0, 0.5])
    optimizer.add_gradients()
    optimizer.step(1e-3)
    torch.testing.assert_close(weight.detach(), torch.tensor([0.999, 1.001, 0.999]))
    assert weight.grad is None


def test_gradients_of_passes_add_up_and_are_clipped_together() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        weight = parameter(dtype)
        optimizer = Optimizer([("w", weight)], OptimSettings(max_grad_norm=1.0))
        for _ in range(2):
            (weight * torch.tensor([3.0, 0.0, 4.0], dtype=dtype)).sum().backward()
            optimizer.add_gradients()
        assert optimizer.clip() == pytest.approx(10.0)
        assert optimizer.clip() == pytest.approx(1.0, rel=1e-5)


def test_small_steps_on_bfloat16_weights_are_not_lost() -> None:
    """A hundred steps of 1e-4 move 1.0 to .99; each alone is below bfloat16's resolution of .004 there."""
    weight = parameter(torch.bfloat16)
    optimizer = Optimizer([("w", weight)], OptimSettings(lr=1e-4))
    for step in range(100):
        weight.grad = torch.ones(3, dtype=torch.bfloat16)
        optimizer.add_gradients()
        optimizer.step(1e-4)
        if step == 0:
            assert (weight == 1).all()
    torch.testing.assert_close(weight.detach().float(), torch.full((3,), 0.99), atol=0.003, rtol=0)
    assert (weight < 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_goes_on_from_its_state_bit_for_bit(dtype: torch.dtype) -> None:
    def steps(optimizer: Optimizer, weight: torch.nn.Parameter, count: int) -> None:
        for i in range(count):
            weight.grad = torch.tensor([0.1, -0.2, 0.3 + i], dtype=dtype)
            optimizer.add_gradients()
            optimizer.step(1e-3)

    whole = parameter(dtype)
    one = Optimizer([("w", whole)], OptimSettings(weight_decay=0.1))
    steps(one, whole, 2)
    again = torch.nn.Parameter(whole.detach().clone())
    two = Optimizer([("w", again)], OptimSettings(weight_decay=0.1))
    two.load(deepcopy(one.state()))
    steps(one, whole, 2)
    steps(two, again, 2)
    assert torch.equal(whole, again)


def test_the_state_of_other_parameters_is_refused() -> None:
    one = Optimizer([("w", parameter(torch.float32))], OptimSettings())
    two = Optimizer([("v", parameter(torch.float32))], OptimSettings())
    with pytest.raises(ValueError, match="other parameters"):
        two.load(one.state())


def rates(steps: int, of: int | None = None, **settings: Any) -> list[float]:
    return [learning_rate(step, OptimSettings(lr=8.0, **settings), of or steps) for step in range(steps)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [8, 8, 8]),
        ({"warmup_steps": 4}, [2, 4, 6, 8, 8, 8]),
        ({"schedule": "cosine", "warmup_steps": 4}, [2, 4]),  # longer than the run
        ({"schedule": "linear"}, [8, 6, 4, 2]),
        ({"schedule": "linear", "warmup_steps": 2}, [4, 8, 8, 6, 4, 2]),
        ({"schedule": "linear", "final_lr": 4.0}, [8, 7, 6, 5]),
        ({"schedule": "cosine"}, [8, 6, 2]),  # 4·(1 + cos 0, π/3, 2π/3)
        ({"schedule": "cosine", "warmup_steps": 1, "final_lr": 2.0}, [8, 8, 6.5, 3.5]),
    ],
)
def test_rates_by_hand(settings: dict[str, Any], expected: list[float]) -> None:
    assert rates(len(expected), **settings) == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_fall_over_fewer_steps_than_the_run_stays_down(schedule: Any) -> None:
    short = rates(6, schedule=schedule, decay_steps=3, final_lr=1.0)
    assert short[:3] == rates(3, schedule=schedule, final_lr=1.0)
    assert short[3:] == [1, 1, 1]
    # The same, however long the run: it can go on for longer than was planned.
    assert short == rates(6, of=600, schedule=schedule, decay_steps=3, final_lr=1.0)
