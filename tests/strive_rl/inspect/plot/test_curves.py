"""Smoothing and seeds, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from strive_rl.inspect.plot.curves import arms, curve, default_span, smoothed
from tests.strive_rl.inspect.plot.made_runs import history

NAN = float("nan")


def test_the_average_by_hand() -> None:
    """Span 3: each step back weighs half as much."""
    made = smoothed(np.array([1.0, 4.0, 7.0]), 3)
    np.testing.assert_allclose(made, [1, (4 + 0.5) / 1.5, (7 + 2 + 0.25) / 1.75])
    assert smoothed(np.array([1.0, 4.0]), 1).tolist() == [1.0, 4.0]


def test_a_constant_stays_and_gaps_are_left_out() -> None:
    np.testing.assert_allclose(smoothed(np.full(9, 0.3), 5), 0.3)
    made = smoothed(np.array([2.0, NAN, 4.0]), 3)
    np.testing.assert_allclose(made, [2, NAN, (4 + 0.25 * 2) / 1.25])


def test_seeds_of_an_arm_are_runs_of_one_recipe() -> None:
    def run(name: str, **settings: Any) -> Any:
        return history(name, [0.5], settings={"lr": 1.0} | settings)

    runs = [run("strive-seed0", seed=0, steps=3), run("strive-seed12", seed=12, steps=9), run("b", lr=2.0)]
    assert [(arm.name, len(arm.runs)) for arm in arms(runs, group=True)] == [
        ("strive (2 seeds)", 2),
        ("b", 1),
    ]
    assert [arm.name for arm in arms(runs, group=False)] == ["strive-seed0", "strive-seed12", "b"]
    unknown = [history("x", [0.5]), history("y", [0.5])]
    assert len(arms(unknown, group=True)) == 2
    nameless = arms([run("a", seed=1), run("b", seed=2)], group=True)
    assert [arm.name for arm in nameless] == ["a (2 seeds)"]


def test_a_curve_of_seeds_is_their_mean_at_common_steps_within_their_range() -> None:
    settings = {"lr": 1.0}
    runs = [history("a", [0.0, 0.2, 0.4], settings=settings), history("b", [0.6, NAN], settings=settings)]
    (arm,) = arms(runs, group=True)
    made = curve(3, arm, "reward", 1)
    assert made is not None
    assert (made.arm, made.raw) == (3, None)
    assert made.steps.tolist() == [1, 2]
    np.testing.assert_allclose(made.line, [0.3, NAN])
    np.testing.assert_allclose(made.low, [0.0, NAN])
    np.testing.assert_allclose(made.high, [0.6, NAN])


def test_one_run_keeps_what_was_written() -> None:
    (arm,) = arms([history("a", [0.0, 1.0])], group=False)
    made = curve(0, arm, "reward", 3)
    assert made is not None
    assert made.raw is not None
    assert made.raw.tolist() == [0.0, 1.0]
    assert made.line.tolist() == pytest.approx([0.0, 2 / 3])
    assert curve(0, arm, "absent", 3) is None
    assert curve(0, arms([history("a", [NAN])], group=False)[0], "reward", 3) is None


def test_the_default_span_grows_with_the_longest_run() -> None:
    assert default_span([history("a", [0.0])]) == 1
    assert default_span([history("a", [0.0]), history("b", [0.0] * 1000)]) == 40
