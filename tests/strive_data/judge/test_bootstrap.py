from __future__ import annotations

import numpy as np
import pytest

from strive_data.judge.bootstrap import VideoBootstrap


def test_the_interval_is_the_normal_one_for_many_videos():
    values = np.random.default_rng(1).normal(0.5, 0.2, 900)
    low, high = VideoBootstrap([str(i) for i in range(900)], resamples=4000).interval(values)
    half = 1.96 * values.std() / 30
    assert low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_questions_of_one_video_are_drawn_together():
    # 100 videos of 9 equal questions: the interval of 100 values, three times that of 900.
    values = np.random.default_rng(1).normal(0.5, 0.2, 100)
    once = VideoBootstrap([str(i) for i in range(100)], resamples=500).interval(values)
    repeated = VideoBootstrap([str(i // 9) for i in range(900)], resamples=500).interval(np.repeat(values, 9))
    assert repeated[1] - repeated[0] > 0.9 * (once[1] - once[0])


def test_the_mean_is_over_questions_and_not_over_videos():
    low, high = VideoBootstrap(["a"] * 4, resamples=10).interval(np.array([1.0, 0, 0, 0]))
    assert (low, high) == (0.25, 0.25)


def test_deterministic_and_nan_stays_nan():
    ids = [str(i) for i in range(30)]
    values = np.random.default_rng(0).random(30)
    first, second = (VideoBootstrap(ids, resamples=50, seed=3).interval(values) for _ in range(2))
    assert first == second
    assert first != VideoBootstrap(ids, resamples=50, seed=4).interval(values)
    assert np.isnan(VideoBootstrap(ids, resamples=5).interval(np.full(30, np.nan))).all()
