"""The pictures of a study: nothing is cut off, and many arms stay distinct."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from strive_rl.study.page import WIDTH_INCHES, _curves, _forest


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
