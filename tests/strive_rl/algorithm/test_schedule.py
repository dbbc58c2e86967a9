"""α over the steps, by hand and by its laws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.errors import SettingsError
from strive_rl.algorithm.schedule import alpha_at, learning_rate
from strive_rl.config import DataSettings, OptimSettings, TrainSettings


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


def alphas(steps: int, of: int | None = None, start: float = 0.2, **data: Any) -> list[float]:
    settings = TrainSettings(data=DataSettings(**data), steps=of or steps)
    made = [alpha_at(step, settings, start) for step in range(steps)]
    return [alpha for alpha in made if alpha is not None]


def test_variants_without_one_alpha_keep_none() -> None:
    assert alpha_at(1, TrainSettings(), None) is None


def test_constant() -> None:
    assert alphas(4) == [0.2] * 4


def test_linear_and_cosine_end_at_the_last_step() -> None:
    assert alphas(5, alpha_schedule="linear", alpha_final=1.0) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert alphas(3, alpha_schedule="linear", alpha_final=0.1) == pytest.approx([0.2, 0.15, 0.1])
    # (1 − cos(k·π/3))/2 = 0, 1/4, 3/4, 1
    assert alphas(4, alpha_schedule="cosine", alpha_final=1.0) == pytest.approx([0.2, 0.4, 0.8, 1.0])
    assert alphas(1, alpha_schedule="linear", alpha_final=1.0) == [0.2]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_way_shorter_than_the_run_does_not_depend_on_the_run(schedule: Any) -> None:
    short = alphas(6, alpha_schedule=schedule, alpha_final=1.0, alpha_steps=3)
    assert short[3:] == [1.0] * 3
    assert short[:4] == alphas(4, alpha_schedule=schedule, alpha_final=1.0)
    assert short == alphas(6, of=600, alpha_schedule=schedule, alpha_final=1.0, alpha_steps=3)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@given(start=st.floats(0.05, 1), final=st.floats(0.05, 1), steps=st.integers(2, 40))
def test_a_way_is_monotone_and_stays_between_its_ends(
    schedule: Any, start: float, final: float, steps: int
) -> None:
    made = alphas(steps, start=start, alpha_schedule=schedule, alpha_final=final)
    rises = np.diff(made) * (1 if final >= start else -1)
    assert (rises >= -1e-12).all()
    assert min(start, final) - 1e-12 <= min(made) <= max(made) <= max(start, final) + 1e-12
    assert made[-1] == pytest.approx(final)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"alpha_schedule": "linear"}, r"data\.alpha_final: got None with alpha_schedule=linear"),
        ({"alpha_final": 0.5}, "linear and cosine need one, constant has none"),
        ({"alpha_schedule": "cosine", "alpha_final": 1.5}, "expected 0 < alpha <= 1"),
        ({"alpha_steps": 5}, "alpha_steps: got 5 with alpha_schedule=constant"),
        ({"alpha_schedule": "linear", "alpha_final": 0.5, "alpha_steps": 0}, "expected at least 1"),
        ({"alpha_schedule": "linear", "alpha_final": 0.5, "draw": "stored"}, "leave one of them out"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        DataSettings(**settings)
