"""Curves of runs as one picture or one self-contained page, drawn by matplotlib.

A page has one SVG a panel, so that the panels stand in as many columns as fit, and follows the reader's light
or dark colours. matplotlib is imported by the functions that draw, so that no other command waits for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from strive_data.common.files import require_suffix
from strive_data.common.text import escape_controls, plural, render
from strive_data.errors import UsageError
from strive_rl.common.options import PLOT_FORMATS as SUFFIXES
from strive_rl.inspect.history import (
    Arm,
    Curve,
    History,
    Values,
    arm_curve,
    default_span,
    group_arms,
    read_histories,
    setting_differences,
    sparse_curve,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE = Path(__file__).parent / "templates" / "curves.html"
COLUMNS, PANEL_INCHES = 3, (4.6, 2.6)
PIXELS_PER_INCH = 150
# Columns of the page's table of runs.
LAST_VALUES = ("reward", "accuracy", "zero_advantage_share", "entropy", "completion_tokens")
# Legible on white and on the dark page.
PALETTE = (
    *("#2e86de", "#d64550", "#2f9e68", "#c98a1b", "#8e63ce", "#1f9aa5"),
    *("#a3663f", "#d05fa9", "#76869a", "#86a31c", "#e8743b", "#5b63c9"),
)
# In an SVG these colours stand for variables of the page's style.
INK, GRID = "#1d2127", "#dde1e6"
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
OUTLIERS = 0.01  # share of raw values that may lie outside the panel on each side
ROOM = 0.06  # of the range, above and below
ROUNDING = 1e-9  # relative: what averaging a constant leaves
MOST_TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Panel:
    """`key` as in METRICS.md; `log` where values of many sizes meet; `smooth` unless it has no noise;
    `interval` where few steps have a value, with an interval beside it (KEY_low, KEY_high)."""

    topic: str
    title: str
    unit: str
    key: str
    log: bool = False
    smooth: bool = True
    interval: bool = False


OUTCOME, EXPLORATION, POLICY, SPEED = "Outcome", "Exploration", "Policy", "Speed"
SHARE_Q, SHARE_T, SHARE_C = "share of questions", "share of tokens", "share of completions"
PANELS = (
    Panel(topic=OUTCOME, title="reward", unit="mean reward", key="reward"),
    Panel(topic=OUTCOME, title="accuracy", unit="mean accuracy", key="accuracy"),
    Panel(topic=OUTCOME, title="format", unit="mean format reward", key="format"),
    Panel(
        topic=OUTCOME,
        title="held-out accuracy",
        unit="mean accuracy",
        key="heldout.accuracy",
        smooth=False,
        interval=True,
    ),
    Panel(topic=EXPLORATION, title="zero advantage", unit=SHARE_Q, key="zero_advantage_share"),
    Panel(topic=EXPLORATION, title="all completions wrong", unit=SHARE_Q, key="all_wrong_share"),
    Panel(topic=EXPLORATION, title="all completions right", unit=SHARE_Q, key="all_right_share"),
    Panel(topic=EXPLORATION, title="η²: variance between variants", unit="share of variance", key="eta2"),
    Panel(topic=EXPLORATION, title="spread of a question's rewards", unit="std of reward", key="reward_std"),
    Panel(topic=POLICY, title="entropy", unit="nats per token", key="entropy"),
    Panel(topic=POLICY, title="KL to the policy before the step", unit="nats per token", key="kl"),
    Panel(topic=POLICY, title="KL to the reference model", unit="nats per token", key="reference_kl"),
    Panel(topic=POLICY, title="clipped", unit=SHARE_T, key="clipped"),
    Panel(topic=POLICY, title="completion length", unit="tokens", key="completion_tokens"),
    Panel(topic=POLICY, title="truncated", unit=SHARE_C, key="truncated_share"),
    Panel(topic=POLICY, title="gradient norm", unit="norm", key="grad_norm", log=True),
    Panel(topic=POLICY, title="gap between sampler and trainer", unit="nats", key="logprob_gap", log=True),
    Panel(topic=POLICY, title="learning rate", unit="rate", key="learning_rate", smooth=False),
    Panel(topic=SPEED, title="tokens sampled", unit="tokens per second", key="per_second.tokens"),
    Panel(topic=SPEED, title="prompt tokens read", unit="tokens per second", key="per_second.tokens_read"),
    Panel(topic=SPEED, title="time of a step", unit="seconds", key="seconds.total"),
)


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
    require_suffix(out, SUFFIXES)
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
    return f"{text}. A gap: steps without a record or a finite value."


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

    def panel_svg(panel: Panel, curves: dict[int, Curve]) -> Markup:
        draw = partial(draw_panel, panel=panel, curves=curves, arms=drawing.arms)
        return svg(draw, size=PANEL_INCHES, salt=panel.key)

    title = f"Curves of {len(runs)} runs" if len(runs) > 1 else f"Curves of {runs[0][1].name}"
    return render(
        PAGE,
        title=title,
        caption=caption(drawing),
        arms=[(PALETTE[i], arm.name) for i, arm in enumerate(drawing.arms)],
        topics=[
            (topic, [(panel.title, panel_svg(panel, curves)) for panel, curves in few])
            for topic, few in groupby(drawing.panels, lambda pair: pair[0].topic)
        ],
        left_out={"No values": drawing.without_values, "0 at every step": drawing.always_zero},
        columns=[panel.title for panel in PANELS if panel.key in LAST_VALUES],
        runs=[(PALETTE[i], run.name, *_progress(run, drawing.span)) for i, run in runs],
        names=[run.name for _, run in runs],
        differences=setting_differences([run for _, run in runs]) if len(runs) > 1 else {},
    )


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


def draw_panel(axes: Axes, panel: Panel, curves: Mapping[int, Curve], arms: Sequence[Arm]) -> None:
    """One panel: bands, logged values, curves, and the names of both axes."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for i, curve in curves.items():
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.steps, curve.low, curve.high, color=PALETTE[i], alpha=0.2, linewidth=0)
        if curve.raw is not None:
            _line(axes, curve.steps, curve.raw, color=PALETTE[i], alpha=0.3, linewidth=0.8)
        _line(axes, curve.steps, curve.line, color=PALETTE[i], linewidth=1.8)
    low, high = limits(list(curves.values()), log=panel.log)
    if panel.log:
        axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(_locator(low, high, log=panel.log))
    axes.xaxis.set_major_locator(MaxNLocator(MOST_TICKS, integer=True))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
    axes.minorticks_off()
    steps = [run.steps for arm in arms for run in arm.runs]
    first, last = min(each[0] for each in steps), max(each[-1] for each in steps)
    axes.set_xlim(*((first, last) if first < last else (first - 0.5, last + 0.5)))
    axes.grid(axis="y", color=GRID)
    axes.set_title(panel.title, loc="left", weight="bold", fontsize=12)
    axes.set(xlabel="step", ylabel=panel.unit)


def _line(axes: Axes, steps: Values, values: Values, **style: Any) -> None:
    """A line through values of neighbouring steps; a value between two gaps is a dot."""
    axes.plot(steps, values, **style)
    known = np.concatenate([[False], np.isfinite(values), [False]])
    lone = known[1:-1] & ~known[:-2] & ~known[2:]
    if lone.any():
        axes.plot(steps[lone], values[lone], ".", markersize=6, **style)


def limits(curves: Sequence[Curve], *, log: bool) -> tuple[float, float]:
    """Ends of the vertical axis: all lines and bands, and the logged values without their outliers."""
    lines = np.concatenate([v for c in curves for v in (c.line, c.low, c.high) if v is not None])
    raw = np.concatenate([c.raw for c in curves if c.raw is not None] or [np.empty(0)])
    lines, raw = (_shown(values, log) for values in (lines, raw))
    if len(raw):
        lines = np.concatenate([lines, np.quantile(raw, [OUTLIERS, 1 - OUTLIERS])])
    if not len(lines):
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = float(lines.min()), float(lines.max())
    if high - low <= ROUNDING * max(abs(low), abs(high)):
        room = 0.5 if log else abs(high) / 2 or 0.5
    else:
        room = ROOM * (high - low)
    return (10 ** (low - room), 10 ** (high + room)) if log else (low - room, high + room)


def tick_text(value: float) -> str:
    """A short text: 0.25, 12k, 2M, 1e-5."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.4g}M"
    if size >= 1e4:
        return f"{value / 1e3:.4g}k"
    return "0" if size < 1e-12 else f"{value:.4g}".replace("e-0", "e-")


def _locator(low: float, high: float, *, log: bool) -> Any:
    """Ticks at round values; of a wide logarithmic axis the powers of ten."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    if log and high / low > 300:
        return LogLocator(numticks=MOST_TICKS)
    if log and high / low > 10:
        return LogLocator(subs=(1, 2, 5), numticks=2 * MOST_TICKS)
    return MaxNLocator(MOST_TICKS, steps=[1, 2, 5, 10])


def _shown(values: Values, log: bool) -> Values:
    known = values[np.isfinite(values)]
    return np.log10(known[known > 1e-12]) if log else known
