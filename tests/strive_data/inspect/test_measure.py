from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.inspect.compare_samplers import METRICS, VideoBootstrap, largest_gaps, measure


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


COUNT = 20
RANGES = st.tuples(st.integers(0, COUNT), st.integers(0, COUNT)).map(lambda pair: tuple(sorted(pair)))


def test_by_hand():
    drawn_QMK = np.array([[[1, 4], [0, 9]]], np.int32)
    measured = measure(drawn_QMK, [[(0, 2), (4, 5), (6, 8)]], 10)
    # Variant 0 meets moments 0 and 1; variant 1 moment 0. Gaps: 4→10 is 6; 0→9 is 9.
    expected = {
        "moment_recall": 1 / 2,
        "hit_rate": 1,
        "precision": 3 / 4,
        "largest_gap": 0.75,
        "worst_recall": 1 / 3,
        "union_recall": 2 / 3,
        "overlap": 0,
    }
    assert {name: pytest.approx(values.tolist()) for name, values in measured.items()} == {
        name: [value] for name, value in expected.items()
    }
    assert tuple(measured) == METRICS


def test_the_ends_of_the_video_count_as_gaps():
    assert largest_gaps(np.array([[[7, 8, 9], [0, 1, 2], [1, 5, 8]]], np.int32), 10).tolist() == [[8, 8, 4]]


def test_overlap_is_shared_frames_over_pairs():
    drawn_QMK = np.array([[[0, 1], [0, 2], [0, 1]], [[0, 1], [0, 1], [0, 1]]], np.int32)
    assert measure(drawn_QMK, [[(0, 1)], [(0, 1)]], 4)["overlap"].tolist() == pytest.approx([4 / 6, 1])
    assert np.isnan(measure(drawn_QMK[:, :1], [[(0, 1)], [(0, 1)]], 4)["overlap"]).all()


def test_a_moment_between_candidates_is_missed():
    everything_QMK = np.arange(5, dtype=np.int32)[None, None]
    measured = measure(everything_QMK, [[(2, 2), (0, 1)]], 5)
    assert measured["moment_recall"].tolist() == [0.5]
    assert measured["precision"].tolist() == [0.2]


@given(
    st.lists(st.lists(RANGES, min_size=1, max_size=4), min_size=1, max_size=3),
    st.integers(1, 4),
    st.integers(1, 8),
    st.integers(0, 99),
)
def test_against_sets(moments, variants, frames, seed):
    rng = np.random.default_rng(seed)
    drawn_QMK = np.array(
        [
            [sorted(rng.choice(COUNT, frames, replace=False)) for _ in range(variants)]
            for _ in range(len(moments))
        ],
        dtype=np.int32,
    )
    measured = measure(drawn_QMK, moments, COUNT)
    for q, own in enumerate(moments):
        truth = [set(range(a, b)) for a, b in own]
        views = [set(row.tolist()) for row in drawn_QMK[q]]
        recalls = [np.mean([bool(view & moment) for moment in truth]) for view in views]
        union = np.mean([bool(set.union(*views) & moment) for moment in truth])
        assert measured["moment_recall"][q] == pytest.approx(np.mean(recalls))
        assert measured["worst_recall"][q] == pytest.approx(min(recalls))
        assert measured["union_recall"][q] == pytest.approx(union)
        assert measured["hit_rate"][q] == pytest.approx(np.mean([r > 0 for r in recalls]))
        inside = [len(view & set.union(*truth)) / frames for view in views]
        assert measured["precision"][q] == pytest.approx(np.mean(inside))
        if variants > 1:
            shared = [len(a & b) / frames for a, b in combinations(views, 2)]
            assert measured["overlap"][q] == pytest.approx(np.mean(shared))
