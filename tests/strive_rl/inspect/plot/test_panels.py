"""Every panel shows a number that a step's record has, or that a schedule adds to it."""

from __future__ import annotations

from importlib.resources import files

from strive_rl.inspect.plot.panels import PANELS


def test_panels_are_documented_metrics() -> None:
    table = files("strive_rl").joinpath("METRICS.md").read_text(encoding="utf-8")
    for panel in PANELS:
        section = panel.key.partition(".")[0]
        assert f"| `{panel.key}` |" in table or f"| `{section}.*` |" in table, panel.key
    assert len({panel.key for panel in PANELS}) == len(PANELS)
    assert all(panel.title.isascii() for panel in PANELS), "Pillow's own font has no other letters for sure"
