"""Paired differences by hand; pictures of a study in which nothing is cut off and many arms stay distinct."""

from __future__ import annotations

import math
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from strive_rl.study.page import WIDTH_INCHES, _curves, _forest
from strive_rl.study.results import Mean, comparisons, gain_of, mean_of, t_quantile, t_within


def test_a_mean_and_its_error() -> None:
    assert mean_of([]) is None
    assert mean_of([0.5]) == Mean(mean=0.5, error=None, count=1)
    made = mean_of([0.1, 0.2, 0.6])
    # Deviations −.2, −.1, .3: s² = .14/2, error √(.07/3).
    assert made == Mean(mean=pytest.approx(0.3), error=pytest.approx(math.sqrt(0.07 / 3)), count=3)


def test_gains_are_paired_by_seed() -> None:
    """Both arms vary by .3 from seed to seed; their difference does not."""
    base, better = {0: 0.2, 1: 0.5}, {1: 0.6, 0: 0.3, 7: 0.9}
    first, second = comparisons({"grpo": base, "strive": better}, "grpo")
    assert (first.arm, first.gain) == ("grpo", None)
    assert first.accuracy == mean_of([0.2, 0.5])
    assert second.accuracy == mean_of([0.6, 0.3, 0.9])
    assert (second.gain.mean, second.gain.count) == (pytest.approx(0.1), 2)
    assert second.gain.error == pytest.approx(0, abs=1e-12)


def test_nothing_in_common() -> None:
    assert comparisons({"grpo": {0: 0.1}, "strive": {1: 0.2}}, "grpo")[1].gain is None
    (alone,) = comparisons({"grpo": {}}, "grpo")
    assert alone.accuracy is None


@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.706205), (2, 4.302653), (3, 3.182446), (4, 2.776445), (9, 2.262157)]
)
def test_students_t_is_that_of_the_tables(freedom: int, t: float) -> None:
    assert t_quantile(freedom) == pytest.approx(t, abs=1e-6)
    assert t_within(t, freedom) == pytest.approx(0.95, abs=1e-7)


def test_a_gain_has_the_interval_and_p_value_of_the_paired_t_test() -> None:
    # Differences .1, .2, .6: mean .3, error √(.07/3) = .15275, t = 1.96396 with 2 degrees of freedom.
    gain = gain_of([0.1, 0.2, 0.6])
    assert (gain.low, gain.high) == pytest.approx((0.3 - 4.302653 * 0.152753, 0.957239), abs=1e-5)
    # P(|T| > t) = 1 − t/√(2 + t²) with 2 degrees of freedom.
    assert gain.p == pytest.approx(1 - 1.963961 / math.sqrt(2 + 1.963961**2), abs=1e-6)
    lone = gain_of([0.1])
    assert (lone.low, lone.high, lone.p) == (None, None, None)
    assert gain_of([0.25, 0.25]).p == 0


def test_beside_long_names_the_title_is_whole() -> None:
    """Regression: "gain over BASELINE, 95 % interval" ended beyond the picture."""
    gain = {"mean": 0.02, "low": -0.01, "high": 0.05}
    arms: list[dict[str, Any]] = [
        {"arm": f"strive-with-a-rather-long-name-{i}", "gain": gain} for i in range(3)
    ]
    figure = Figure(figsize=(WIDTH_INCHES, 2), layout="constrained")
    axes = figure.subplots()
    _forest(axes, compared=arms, baseline="grpo-importance")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [each for each in axes.get_children() if isinstance(each, Text) and each.get_text()]
    assert [each.get_text() for each in texts] == ["gain, 95 % interval"]
    for text in (*texts, axes.xaxis.label):
        assert text.get_window_extent(canvas.get_renderer()).x1 <= figure.bbox.x1


@pytest.mark.parametrize(("arms", "kind"), [(3, PolyCollection), (6, LineCollection)])
def test_intervals_are_bands_or_bars_between_0_and_100(arms: int, kind: type) -> None:
    """A t interval of two seeds reaches far beyond what an accuracy can be."""
    mean = {"mean": 0.4, "error": 0.3, "count": 2}
    axes = Figure().subplots()
    _curves(axes, points={f"arm{i}": [(0.0, mean), (1.0, mean)] for i in range(arms)})
    assert len([each for each in axes.collections if isinstance(each, kind)]) == len(axes.collections) == arms
    ends = [point[1] for each in axes.collections for path in each.get_paths() for point in path.vertices]
    assert (min(ends), max(ends)) == (0, 100)
