from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_rl.common.statistics import (
    Estimate,
    SignTest,
    estimate,
    macro_estimate,
    sign_test,
    widened,
    wilson,
)


def test_two_videos_by_hand() -> None:
    """Draws of {a, b}: aa 1, ab and ba 2/3, bb 0. The 2.5 and 97.5 percentiles are the extremes."""
    made = estimate([1, 1, 0], ["a", "a", "b"], resamples=2000, seed=0)
    assert made == Estimate(mean=pytest.approx(2 / 3), low=0.0, high=1.0, questions=3, videos=2)


def test_no_value_and_one_video() -> None:
    assert estimate([], [], resamples=10, seed=0) is None
    assert estimate([1, 0], ["a", "a"], resamples=10, seed=0) == Estimate(
        mean=0.5, low=None, high=None, questions=2, videos=1
    )


def test_independent_questions_give_the_normal_interval() -> None:
    """400 videos of one question, half right: ±1.96·√(.25/400) = ±.049."""
    made = estimate([0, 1] * 200, [str(i) for i in range(400)], resamples=4000, seed=1)
    assert (made.low, made.high) == (pytest.approx(0.451, abs=0.006), pytest.approx(0.549, abs=0.006))


def test_questions_that_agree_within_a_video_count_once() -> None:
    """Ten equal answers in each of 40 videos carry the information of 40, not of 400: √10 times as wide."""
    values = np.repeat([0, 1] * 20, 10)
    videos = np.repeat([f"v{i}" for i in range(40)], 10)
    clustered = estimate(values, list(videos), resamples=4000, seed=0)
    apart = estimate(values, [str(i) for i in range(400)], resamples=4000, seed=0)
    assert clustered.low is not None
    assert apart.low is not None
    ratio = (clustered.high - clustered.low) / (apart.high - apart.low)
    assert ratio == pytest.approx(10**0.5, rel=0.1)


@given(st.lists(st.tuples(st.floats(-1, 1), st.sampled_from("abcdef")), min_size=1, max_size=30))
def test_the_interval_lies_within_the_values(rows: list[tuple[float, str]]) -> None:
    values, videos = [value for value, _ in rows], [video for _, video in rows]
    made = estimate(values, videos, resamples=50, seed=0)
    if made.low is not None and made.high is not None:
        assert min(values) - 1e-9 <= made.low <= made.high <= max(values) + 1e-9
    assert estimate(values, videos, resamples=50, seed=0) == made


def test_a_macro_mean_is_of_tasks_of_parts_of_questions() -> None:
    # task x: its one part has 1, 0, 0, 0; task y: parts .5 (1, 0) and 1.
    values = [1, 0, 0, 0, 1, 0, 1]
    strata = [("x", "x")] * 4 + [("y", "y1")] * 2 + [("y", "y2")]
    made = macro_estimate(values, list("abcdefg"), strata, resamples=200, seed=0)
    assert made.mean == pytest.approx((0.25 + (0.5 + 1) / 2) / 2)
    assert made.low is not None
    assert made.high is not None
    assert 0 <= made.low < made.mean < made.high <= 1
    assert (made.questions, made.videos) == (7, 7)


def test_a_macro_mean_of_one_part_has_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(0).integers(0, 2, 600)
    videos = [str(i // 3) for i in range(600)]
    plain = estimate(values, videos, resamples=4000, seed=1)
    macro = macro_estimate(values, videos, [("t", "t")] * 600, resamples=4000, seed=1)
    assert macro.mean == pytest.approx(plain.mean)
    assert macro.low == pytest.approx(plain.low, abs=0.004)
    assert macro.high == pytest.approx(plain.high, abs=0.004)


def test_a_macro_mean_of_one_video_has_no_interval_and_of_nothing_is_none() -> None:
    one = macro_estimate([1, 0], ["v", "v"], [("a", "a"), ("b", "b")], resamples=10, seed=0)
    assert (one.mean, one.low, one.high) == (0.5, None, None)
    assert macro_estimate([], [], [], resamples=10, seed=0) is None


def test_by_hand() -> None:
    # 5 won, 1 lost: 2·(1 + 6)/64.
    assert sign_test([1, 1, 0.2, 1, 1, -1, 0]) == SignTest(won=5, lost=1, tied=1, p=pytest.approx(14 / 64))
    assert sign_test([]) == SignTest(won=0, lost=0, tied=0, p=1.0)
    assert sign_test([1, -1]).p == 1


@given(won=st.integers(0, 40), lost=st.integers(0, 40))
def test_p_is_the_share_of_splits_as_uneven(won: int, lost: int) -> None:
    made = sign_test([1.0] * won + [-1.0] * lost)
    n = won + lost
    as_uneven = sum(comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= abs(won - lost))
    assert made.p == pytest.approx(as_uneven / 2**n)


def test_thousands_of_questions_do_not_overflow() -> None:
    assert 0 < sign_test([1.0] * 4000 + [-1.0] * 3700).p < 0.01


@pytest.mark.parametrize(
    ("share", "draws", "low", "high"),
    [(1.0, 10, 0.7225, 1.0), (0.0, 10, 0.0, 0.2775), (0.5, 10, 0.2366, 0.7634), (0.8, 100, 0.7112, 0.8666)],
)
def test_wilsons_interval(share: float, draws: int, low: float, high: float) -> None:
    assert wilson(share, draws) == pytest.approx((low, high), abs=1e-4)


def test_equal_answers_are_no_certainty() -> None:
    videos = ["a", "a", "b", "b", "c"]
    right = widened(estimate([1.0] * 5, videos, resamples=100, seed=0))
    assert (right.mean, right.low, right.high) == (1.0, *wilson(1.0, 3))
    mixed = [1.0, 0.0, 1.0, 1.0, 0.0]
    assert widened(estimate(mixed, videos, resamples=100, seed=0)) == estimate(
        mixed, videos, resamples=100, seed=0
    )
    one = widened(estimate([1.0, 1.0], ["a", "a"], resamples=100, seed=0))
    assert one.low is None
    assert widened(estimate([], [], resamples=100, seed=0)) is None


@pytest.mark.parametrize(("gain", "low", "high"), [(0.0, -0.5615, 0.5615), (1.0, -0.1230, 1.0)])
def test_equal_differences_are_no_certainty(gain: float, low: float, high: float) -> None:
    """Of 3 videos: w = z²/3 / (1 + z²/3) = .5615."""
    made = estimate([gain] * 4, ["a", "a", "b", "c"], resamples=100, seed=0)
    made = widened(made, difference=True)
    assert (made.mean, made.low, made.high) == pytest.approx((gain, low, high), abs=1e-4)
