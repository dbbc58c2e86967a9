"""Curves of runs as one picture or one self-contained page, drawn by matplotlib.

A page has one SVG a panel, so that the panels stand in as many columns as fit, and follows the reader's light
or dark colours. matplotlib is imported by the functions that draw, so that no other command waits for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from strive_data.common.page import render
from strive_data.common.text import escape_controls, plural
from strive_data.errors import UsageError
from strive_rl.inspect.history import (
    Arm,
    Curve,
    History,
    arm_curve,
    default_span,
    group_arms,
    read_histories,
    setting_differences,
    sparse_curve,
)
from strive_rl.inspect.panels import GRID, INK, PALETTE, PANELS, STYLE, Panel, draw_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".html")
PAGE = Path(__file__).parent / "templates" / "curves.html"
COLUMNS, PANEL_INCHES = 3, (4.6, 2.6)
PIXELS_PER_INCH = 150
# Columns of the page's table of runs.
LAST_VALUES = ("reward", "accuracy", "zero_advantage_share", "entropy", "completion_tokens")


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What is drawn: the curves of each panel by the arm's position, and the names of panels left out."""

    arms: Sequence[Arm]
    span: int
    panels: Sequence[tuple[Panel, dict[int, Curve]]]
    without_values: Sequence[str]
    always_zero: Sequence[str]


def plot(
    runs: Sequence[Path], out: Path, *, smooth: int | None = None, group: bool = False
) -> tuple[int, int]:
    """Write the curves of `runs` to `out`, a .png or .html file; the numbers of panels and of runs or groups.

    `smooth` is the span of the moving average in steps; None: a 25th of the longest run, 1: off. Raises
    UsageError for a run that cannot be read, another suffix and a file that cannot be written.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out {out}: expected a name that ends in .png or .html")
    if smooth is not None and smooth < 1:
        raise UsageError(f"--smooth {smooth}: expected 1 (off) or more steps")
    histories = read_histories(runs)
    drawing = draw(group_arms(histories, group=group), smooth or default_span(histories))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() == ".png":
            curves_figure(drawing).savefig(out, format="png", dpi=PIXELS_PER_INCH)
        else:
            out.write_text(curves_page(drawing), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--out {out}: cannot write: {error.strerror or error}") from error
    return len(drawing.panels), len(drawing.arms)


def draw(arms: Sequence[Arm], span: int) -> Drawing:
    """Panels that have a value other than 0 in some arm. Raises UsageError for more arms than colours."""
    if len(arms) > len(PALETTE):
        raise UsageError(f"{len(arms)} curves: expected at most {len(PALETTE)}; give fewer runs, or --group")
    found = []
    for panel in PANELS:
        span_of = span if panel.smooth else 1
        curves = {
            i: sparse_curve(arm, panel.key) if panel.interval else arm_curve(arm, panel.key, span_of)
            for i, arm in enumerate(arms)
        }
        found.append((panel, {i: curve for i, curve in curves.items() if curve is not None}))
    zero = [panel.title for panel, curves in found if curves and all(map(_is_zero, curves.values()))]
    return Drawing(
        arms=arms,
        span=span,
        panels=[(panel, curves) for panel, curves in found if curves and panel.title not in zero],
        without_values=[panel.title for panel, curves in found if not curves],
        always_zero=zero,
    )


def caption(drawing: Drawing) -> str:
    """How to read the curves."""
    text = f"Averaged over about {plural(drawing.span, 'step')}; logged values behind in a light colour"
    if drawing.span == 1:
        text = "Values as logged"
    if any(len(arm.runs) > 1 for arm in drawing.arms):
        text += "; several seeds: their mean at the steps that all have, in a band from least to greatest"
    if any(panel.interval for panel, _ in drawing.panels):
        text += "; behind the held-out accuracy its 95 % interval"
    return f"{text}. A gap is a step without a record or a finite value."


def curves_figure(drawing: Drawing) -> Figure:
    """One picture: a legend, then the panels of each topic in rows of three."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    topics = [(topic, list(few)) for topic, few in groupby(drawing.panels, lambda pair: pair[0].topic)]
    rows = [math.ceil(len(few) / COLUMNS) for _, few in topics] or [1]
    width, height = PANEL_INCHES
    with rc_context(STYLE):
        figure = Figure(
            figsize=(width * COLUMNS, height * sum(rows) + 0.4 * len(rows) + 0.5), layout="constrained"
        )
        lines = [Line2D([], [], color=PALETTE[i], linewidth=3) for i in range(len(drawing.arms))]
        figure.legend(
            lines,
            [escape_controls(arm.name).removeprefix("_") for arm in drawing.arms],
            loc="outside upper left",
            ncols=4,
            frameon=False,
        )
        parts = figure.subfigures(len(rows), 1, height_ratios=rows, squeeze=False).ravel()
        for part, (topic, few), count in zip(parts, topics, rows, strict=False):
            part.suptitle(topic, x=0.01, ha="left", weight="bold")
            grid = part.subplots(count, COLUMNS, squeeze=False).ravel()
            for axes, (panel, curves) in zip(grid, few, strict=False):
                draw_panel(axes, panel, curves, drawing.arms)
            for axes in grid[len(few) :]:
                axes.axis("off")
    return figure


def curves_page(drawing: Drawing) -> str:
    """The panels by topic, a table of the runs, and the settings in which they differ."""
    runs = [(i, run) for i, arm in enumerate(drawing.arms) for run in arm.runs]
    title = f"Curves of {len(runs)} runs" if len(runs) > 1 else f"Curves of {runs[0][1].name}"
    return render(
        PAGE,
        title=title,
        caption=caption(drawing),
        arms=[(PALETTE[i], arm.name) for i, arm in enumerate(drawing.arms)],
        topics=[
            (topic, [(panel.title, panel_svg(panel, curves, drawing.arms)) for panel, curves in few])
            for topic, few in groupby(drawing.panels, lambda pair: pair[0].topic)
        ],
        left_out={"No values": drawing.without_values, "0 at every step": drawing.always_zero},
        columns=[panel.title for panel in PANELS if panel.key in LAST_VALUES],
        runs=[(PALETTE[i], run.name, *_progress(run, drawing.span)) for i, run in runs],
        names=[run.name for _, run in runs],
        differences=setting_differences([run for _, run in runs]) if len(runs) > 1 else {},
    )


def panel_svg(panel: Panel, curves: dict[int, Curve], arms: Sequence[Arm]) -> Markup:
    """One panel as SVG."""
    return svg(lambda axes: draw_panel(axes, panel, curves, arms), size=PANEL_INCHES, salt=panel.key)


def svg(draw: Callable[[Axes], None], *, size: tuple[float, float], salt: str) -> Markup:
    """What `draw` draws, as SVG of the width that it is given; text and axes take the page's colours.

    `salt` makes the ids of the pictures of one page differ.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    buffer = StringIO()
    with rc_context(STYLE | {"svg.hashsalt": salt}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "var(--text)").replace(GRID, "var(--line)")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]+">', "<g>", text)
    return Markup(re.sub(r'<svg ([^>]*?)width="[^"]*"|(?<=") height="[^"]*pt"', r"<svg \1", text, count=1))


def _is_zero(curve: Curve) -> bool:
    values = [each for each in (curve.line, curve.raw, curve.low, curve.high) if each is not None]
    return all((each[np.isfinite(each)] == 0).all() for each in values)


def _progress(run: History, span: int) -> tuple[str, list[str]]:
    """The steps that are done, and the last values."""
    planned, done = run.settings.get("settings", {}).get("steps"), f"{int(run.steps[-1])}"
    keys = [panel.key for panel in PANELS if panel.key in LAST_VALUES]
    lasts = [values[np.isfinite(values)][-1:] for values in (run.smoothed(key, span) for key in keys)]
    shown = [f"{last[0]:.4g}" if len(last) else "–" for last in lasts]
    return f"{done} of {planned}" if planned else done, shown
