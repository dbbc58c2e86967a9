"""Where things stand on a page, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from strive_data.errors import UsageError
from strive_rl.inspect.plot.chart import PALETTE, PANEL_HEIGHT, chart, faint, runs_of_finite, thinned
from strive_rl.inspect.plot.curves import arms
from tests.strive_rl.inspect.plot.made_runs import history

NAN = float("nan")


def drawn(*values: list[float], span: int = 1, group: bool = False) -> Any:
    settings = {"lr": 1.0} if group else None
    runs = [history(f"run{i}", each, settings=settings) for i, each in enumerate(values)]
    return chart(arms(runs, group=group), span)


def strokes(made: Any, colour: str) -> list[Any]:
    """The curves of this colour: the legend's swatch has two points on one height."""
    return [
        line.points for line in made.lines if line.colour == colour and line.points[0][1] != line.points[1][1]
    ]


def test_only_panels_with_values_are_shown_and_the_others_are_named() -> None:
    made = drawn([0.0, 1.0, 0.5])
    assert [label.text for label in made.labels if label.bold] == ["reward"]
    assert any(label.text.startswith("No values: accuracy; format;") for label in made.labels)
    assert made.height < 2 * PANEL_HEIGHT
    assert all(label.y < made.height for label in made.labels)


def test_what_is_0_at_every_step_of_every_run_takes_no_panel() -> None:
    made = drawn([0.0, 0.0], [0.0])
    assert not any(label.bold for label in made.labels)
    assert "0 at every step: reward." in [label.text for label in made.labels]
    assert [label.text for label in drawn([0.0, 0.0], [0.0, 0.1]).labels if label.bold] == ["reward"]


def test_a_higher_value_stands_higher_and_a_later_step_further_right() -> None:
    ((first, second, third),) = strokes(drawn([0.0, 1.0, 0.5]), PALETTE[0])
    assert first[0] < second[0] < third[0]
    assert second[1] < third[1] < first[1]
    assert third[1] == pytest.approx((first[1] + second[1]) / 2)


def test_a_gap_breaks_the_line_and_a_lone_value_is_a_dot() -> None:
    made = drawn([0.0, 1.0, NAN, 0.5, NAN, 0.2, 0.4])
    assert [len(points) for points in strokes(made, PALETTE[0])] == [2, 2]
    assert len([dot for dot in made.dots if dot.colour == PALETTE[0]]) == 1


def test_a_run_of_one_step_is_a_dot() -> None:
    made = drawn([0.5])
    assert [dot.colour for dot in made.dots] == [faint(PALETTE[0], 0.28), PALETTE[0]]


def test_runs_of_different_lengths_share_the_axis() -> None:
    made = drawn([0.0, 1.0, 0.5], [0.2, 0.4])
    (long,), (short,) = strokes(made, PALETTE[0]), strokes(made, PALETTE[1])
    assert short[0][0] == long[0][0]
    assert short[-1][0] == pytest.approx(long[1][0])


def test_what_was_written_stands_faintly_behind_the_average() -> None:
    made = drawn([0.0, 1.0, 0.5], span=3)
    colours = [line.colour for line in made.lines]
    assert colours.index(faint(PALETTE[0], 0.28)) < len(colours) - 1
    assert colours[-1] == PALETTE[0]


def test_a_schedule_is_not_averaged() -> None:
    rates = np.array([0.0, 1.0, 0.0])
    run = replace(history("a", [0.0, 1.0, 0.0]), values={"learning_rate": rates, "reward": rates})
    (_, averaged, _), (_, exact, _) = strokes(chart(arms([run], group=False), 3), PALETTE[0])
    assert exact[1] < averaged[1]


def test_seeds_are_a_band() -> None:
    made = drawn([0.0, 1.0, 0.5], [0.5, 0.5, 0.5], group=True)
    (area,) = made.areas
    assert len(area.points) == 6
    assert area.points[2] == pytest.approx(area.points[3])


def test_more_runs_than_colours_are_refused() -> None:
    with pytest.raises(UsageError, match="13 curves: a page tells 12 apart"):
        drawn(*[[0.5]] * 13)
    assert len(set(PALETTE)) == 12


def test_a_thinned_line_keeps_every_extreme() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    steps, kept = thinned(np.arange(5000.0), values, buckets=10)
    assert len(kept) <= 20
    assert (kept.min(), kept.max()) == (values.min(), values.max())
    assert (np.diff(steps) > 0).all()
    assert thinned(np.arange(3.0), values[:3])[1].tolist() == values[:3].tolist()


def test_stretches_without_a_gap() -> None:
    parts = runs_of_finite(np.array([NAN, 1.0, 2.0, NAN, 3.0]))
    assert parts == [slice(1, 3), slice(4, 5)]
    assert runs_of_finite(np.array([NAN])) == []


def test_a_faint_colour_lies_between_it_and_white() -> None:
    assert faint("#000000", 0.2) == "#cccccc"
    assert faint("#ff0000", 1.0) == "#ff0000"
