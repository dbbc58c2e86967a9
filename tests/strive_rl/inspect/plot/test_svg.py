"""The SVG is well formed and holds what the chart does."""

from __future__ import annotations

from xml.etree import ElementTree

from strive_rl.inspect.plot.chart import chart
from strive_rl.inspect.plot.curves import arms
from strive_rl.inspect.plot.svg import SVG, chart_svg
from tests.strive_rl.inspect.plot.made_runs import history


def test_every_shape_is_there_and_names_are_escaped() -> None:
    made = chart(arms([history("a<b>&", [0.0, 1.0]), history("c", [0.5])], group=False), 1)
    tree = ElementTree.fromstring(chart_svg(made))
    count = {
        name: len(tree.findall(f"{{{SVG}}}{name}")) for name in ("polyline", "circle", "text", "polygon")
    }
    assert count == {
        "polyline": len(made.lines),
        "circle": len(made.dots),
        "text": len(made.labels),
        "polygon": 0,
    }
    assert tree.get("viewBox") == f"0 0 {made.width} {made.height}"
    assert "a<b>&" in [text.text for text in tree.iter(f"{{{SVG}}}text")]
