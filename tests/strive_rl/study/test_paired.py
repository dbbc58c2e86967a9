"""Paired differences by hand."""

from __future__ import annotations

import math

import pytest

from strive_rl.study.paired import Mean, comparisons, mean_of


def test_a_mean_and_its_error() -> None:
    assert mean_of([]) is None
    assert mean_of([0.5]) == Mean(mean=0.5, error=None, count=1)
    made = mean_of([0.1, 0.2, 0.6])
    assert made is not None
    # Deviations −.2, −.1, .3: s² = .14/2, error √(.07/3).
    assert (made.mean, made.error, made.count) == (
        pytest.approx(0.3),
        pytest.approx(math.sqrt(0.07 / 3)),
        3,
    )


def test_gains_are_paired_by_seed() -> None:
    """Both arms vary by .3 from seed to seed; their difference does not."""
    base, better = {0: 0.2, 1: 0.5}, {1: 0.6, 0: 0.3, 7: 0.9}
    first, second = comparisons({"grpo": base, "strive": better}, "grpo")
    assert (first.arm, first.gain) == ("grpo", None)
    assert first.accuracy == mean_of([0.2, 0.5])
    assert second.accuracy == mean_of([0.6, 0.3, 0.9])
    assert second.gain is not None
    assert (second.gain.mean, second.gain.count) == (pytest.approx(0.1), 2)
    assert second.gain.error == pytest.approx(0, abs=1e-12)


def test_nothing_in_common() -> None:
    assert comparisons({"grpo": {0: 0.1}, "strive": {1: 0.2}}, "grpo")[1].gain is None
    (alone,) = comparisons({"grpo": {}}, "grpo")
    assert alone.accuracy is None
