from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from strive_data.errors import UsageError
from strive_rl.inspect.curves import (
    PALETTE,
    PANELS,
    ROOM,
    Drawing,
    caption,
    curves_page,
    draw,
    draw_panel,
    limits,
    plot,
    tick_text,
)
from strive_rl.inspect.history import Curve, History, group_arms, read_histories
from tests.strive_rl.inspect.made_runs import history, make_run

NAN = float("nan")


def drawing(*values: list[float], span: int = 1, group: bool = False) -> Drawing:
    settings = {"lr": 1.0} if group else None
    runs = [history(f"run{i}", each, settings=settings) for i, each in enumerate(values)]
    return draw(group_arms(runs, group=group), span)


def panel_axes(made: Drawing, place: int = 0) -> Any:
    axes = Figure().subplots()
    draw_panel(axes, *made.panels[place], made.arms)
    return axes


def lines(axes: Any, colour: str) -> list[Any]:
    return [line for line in axes.lines if to_hex(line.get_color()) == colour]


def a_curve(line: list[float], raw: list[float] | None = None) -> Curve:
    return Curve(
        steps=np.arange(len(line), dtype=np.float64),
        line=np.array(line),
        raw=None if raw is None else np.array(raw),
    )


def test_only_panels_with_values_are_drawn_and_the_others_are_named() -> None:
    made = drawing([0.0, 1.0, 0.5])
    assert [panel.title for panel, _ in made.panels] == ["reward"]
    assert made.without_values[:2] == ["accuracy", "format"]
    zero = drawing([0.0, 0.0], [0.0])
    assert (list(zero.panels), zero.always_zero) == ([], ["reward"])
    assert [panel.title for panel, _ in drawing([0.0, 0.0], [0.0, 0.1]).panels] == ["reward"]


def test_a_curve_has_its_values_over_the_logged_ones_on_the_axis_of_the_longest_run() -> None:
    axes = panel_axes(drawing([0.0, 1.0, 0.5], [0.2, 0.4], span=3))
    raw, line = lines(axes, PALETTE[0])
    assert raw.get_ydata().tolist() == [0.0, 1.0, 0.5]
    assert line.get_ydata()[1] == pytest.approx(2 / 3)
    assert (raw.get_alpha(), line.get_alpha()) == (0.3, None)
    assert lines(axes, PALETTE[1])[1].get_xdata().tolist() == [1, 2]
    assert axes.get_xlim() == (1, 3)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "mean reward")


def test_a_value_between_two_gaps_is_a_dot() -> None:
    axes = panel_axes(drawing([0.0, 1.0, NAN, 0.5, NAN, 0.2, 0.4]))
    dots = [line for line in lines(axes, PALETTE[0]) if line.get_marker() == "."]
    assert [dot.get_xdata().tolist() for dot in dots] == [[4.0], [4.0]]
    alone = panel_axes(drawing([0.5]))
    assert any(line.get_marker() == "." for line in alone.lines)


def test_a_schedule_is_not_averaged() -> None:
    rates = np.array([0.0, 1.0, 0.0])
    run = replace(history("a", [0.0, 1.0, 0.0]), values={"learning_rate": rates, "reward": rates})
    made = draw(group_arms([run], group=False), 3)
    averaged, exact = (lines(panel_axes(made, i), PALETTE[0])[-1].get_ydata()[1] for i in (0, 1))
    assert exact == 1 > averaged


def test_seeds_are_a_band() -> None:
    axes = panel_axes(drawing([0.0, 1.0, 0.5], [0.5, 0.5, 0.5], group=True))
    (band,) = axes.collections
    (path,) = band.get_paths()
    box = path.get_extents()
    assert (box.ymin, box.ymax) == (0, 1)


def test_more_curves_than_colours_are_refused() -> None:
    with pytest.raises(UsageError, match="13 curves: expected at most 12"):
        drawing(*[[0.5]] * 13)
    assert len(set(PALETTE)) == 12


def test_a_spike_does_not_flatten_a_curve_but_a_curve_is_shown_whole() -> None:
    raw = [*np.linspace(0, 1, 999).tolist(), 1000.0]
    assert limits([a_curve([0.2, 0.8], raw)], log=False)[1] < 1.1
    assert limits([a_curve([0.2, 5.0], raw)], log=False)[1] > 5.0


@pytest.mark.parametrize(
    ("values", "log", "expected"),
    [
        ([0.0, 0.0], False, (-0.5, 0.5)),
        ([1e-6, 1e-6], False, (0.5e-6, 1.5e-6)),
        ([0.3, 0.3 + 1e-16], False, (0.15, 0.45)),
        ([1.0, 2.0], False, (1 - ROOM, 2 + ROOM)),
        ([NAN, 0.0], True, (1.0, 10.0)),
        ([0.1, 0.1], True, (10**-1.5, 10**-0.5)),
    ],
)
def test_every_panel_has_a_range(values: list[float], log: bool, expected: tuple[float, float]) -> None:
    assert limits([a_curve(values)], log=log) == pytest.approx(expected)


@given(st.floats(1e-9, 1e6), st.floats(1e-6, 1e6), st.booleans())
def test_every_axis_has_tick_labels(low: float, span: float, log: bool) -> None:
    run = history("a", [low, low + span])
    run = replace(run, values={"grad_norm" if log else "reward": run.values["reward"]})
    axes = panel_axes(draw(group_arms([run], group=False), 1))
    bottom, top = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if bottom <= tick <= top]
    assert 1 <= len(ticks) <= 12
    assert all(tick_text(tick) for tick in ticks)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2, "0.2"), (0.0, "0"), (12_000, "12k"), (2e6, "2M"), (1e-6, "1e-6"), (-0.04, "-0.04")],
)
def test_tick_labels_are_short(value: float, text: str) -> None:
    assert tick_text(value) == text


def test_panels_are_documented_metrics() -> None:
    table = files("strive_rl").joinpath("train/METRICS.md").read_text(encoding="utf-8")
    for panel in PANELS:
        section = panel.key.partition(".")[0]
        assert f"| `{panel.key}` |" in table or f"| `{section}.*` |" in table, panel.key
    assert len({panel.key for panel in PANELS}) == len(PANELS)


def page(*runs: History, group: bool = False) -> str:
    return curves_page(draw(group_arms(runs, group=group), 1))


def test_the_page_fetches_nothing_escapes_names_and_follows_the_colours_of_the_page() -> None:
    text = page(history("<script>_$x^$", [0.0, 1.0]))
    assert "<script" not in text
    assert not re.findall(r"(?:src|href)=\"[^#]", text)
    (svg,) = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    picture = ElementTree.fromstring(svg)
    assert "width" not in picture.attrib
    words = {"".join(part.itertext()).strip() for part in picture.iter("{http://www.w3.org/2000/svg}text")}
    assert {"reward", "step", "mean reward"} <= words
    assert "var(--text)" in svg
    assert "#1d2127" not in svg
    two = history("a", [0.0, 1.0])
    ids = re.findall(r' id="([^"]+)"', page(replace(two, values={**two.values, "kl": two.values["reward"]})))
    assert len(ids) == len(set(ids))
    assert page(history("a", [0.0, 1.0])) == page(history("a", [0.0, 1.0]))


def test_the_page_lists_the_runs_and_the_settings_that_differ() -> None:
    one = history("a", [0.0, 1.0], settings={"optim": {"lr": 1.0}, "steps": 10})
    other = history("b", [0.5], settings={"optim": {"lr": 2.0}, "steps": 10})
    text = page(one, other)
    assert "<td>optim.lr</td><td>1.0</td><td>2.0</td>" in text
    assert "<td>2 of 10</td><td>1</td>" in text
    assert "Settings that differ" not in page(one)
    assert "<td>1</td><td>0.5</td><td>–</td>" in page(history("a", [0.5]))


def test_the_caption_says_how_to_read_the_curves() -> None:
    assert caption(drawing([0.5])).startswith("Values as logged.")
    seeds = caption(drawing([0.5], [0.6], span=5, group=True))
    assert "5 steps" in seeds
    assert "seeds" in seeds


def test_a_picture_and_a_page_are_written(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"arm-{seed}", [0.1, 0.5, None], seed=seed) for seed in (0, 1)]
    assert plot(runs, tmp_path / "new" / "curves.PNG")[1] == 2
    with Image.open(tmp_path / "new" / "curves.PNG") as image:
        assert image.format == "PNG"
        colours = {
            to_hex(np.array(pixel) / 255) for _, pixel in image.convert("RGB").getcolors(1 << 20) or []
        }
    assert set(PALETTE[:2]) <= colours
    assert plot(runs, tmp_path / "curves.html", smooth=2, group=True)[1] == 1
    assert "arm (2 seeds)" in (tmp_path / "curves.html").read_text(encoding="utf-8")


def test_a_run_that_bursts_is_drawn_up_to_there(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [0.5, 0.6, 1e308, -1e308])
    (read,) = read_histories([run])
    assert np.isfinite(read.values["reward"]).tolist() == [True, True, False, False]
    panels, arms = plot([run], tmp_path / "out.html")
    assert (panels, arms) == ((tmp_path / "out.html").read_text(encoding="utf-8").count("<svg"), 1)
    assert panels > 1


def test_wrong_names_and_places_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [0.1])
    with pytest.raises(UsageError, match=r"\.png or \.html"):
        plot([run], tmp_path / "curves.pdf")
    with pytest.raises(UsageError, match="--smooth 0"):
        plot([run], tmp_path / "curves.png", smooth=0)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        plot([run], tmp_path / "file" / "curves.png")
