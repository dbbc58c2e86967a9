"""Ranges, places and ticks, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_rl.inspect.plot.axes import MARGIN, Scale, scale_of, tick_text, ticks

NAN = float("nan")


def texts(low: float, high: float, log: bool = False) -> list[str]:
    scale = Scale(low=low, high=high, log=log)
    return [tick_text(tick, scale) for tick in ticks(scale)]


def test_places() -> None:
    made = Scale(low=2.0, high=4.0).place(np.array([2.0, 3.0, 5.0, NAN]))
    np.testing.assert_allclose(made, [0, 0.5, 1.5, NAN])
    made = Scale(low=-2.0, high=0.0, log=True).place(np.array([0.1, 0.0, -1.0]))
    np.testing.assert_allclose(made, [0.5, NAN, NAN])


def test_ticks_are_round() -> None:
    assert texts(0.0, 1.0) == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert texts(-0.04, 0.05) == ["-0.04", "-0.02", "0", "0.02", "0.04"]
    assert texts(0.0, 31_000.0) == ["0", "10k", "20k", "30k"]
    assert texts(0.0, 1e-6)[-1] == "1e-6"
    assert texts(-5.3, 0.2, log=True) == ["0.0001", "0.01", "1"]
    assert texts(-2.1, -0.9, log=True) == ["0.01", "0.02", "0.05", "0.1"]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_lie_within_and_are_few(low: float, span: float) -> None:
    scale = Scale(low=low, high=low + span)
    made = ticks(scale)
    slack = 1e-6 * span
    assert all(low - slack <= tick <= low + span + slack for tick in made)
    assert 1 <= len(made) <= 7


def test_a_spike_does_not_flatten_a_curve_but_a_curve_is_shown_whole() -> None:
    raw = np.concatenate([np.linspace(0, 1, 999), [1000.0]])
    assert scale_of([np.array([0.2, 0.8])], [raw]).high < 1.1
    assert scale_of([np.array([0.2, 5.0])], [raw]).high > 5.0


def test_a_constant_and_nothing_have_a_range_too() -> None:
    made = scale_of([np.zeros(3)])
    assert (made.low, made.high) == (-0.5, 0.5)
    made = scale_of([np.full(3, 1e-6)])
    assert (made.low, made.high) == pytest.approx((0.5e-6, 1.5e-6))
    made = scale_of([np.array([0.3, 0.3 + 1e-16, 0.3 - 1e-16])])
    assert (made.low, made.high) == pytest.approx((0.15, 0.45))
    made = scale_of([np.array([1.0, 2.0])])
    assert (made.low, made.high) == pytest.approx((1 - MARGIN, 2 + MARGIN))
    made = scale_of([np.array([NAN, 0.0])], log=True)
    assert (made.low, made.high) == (0.0, 1.0)
