"""The panels of a page of curves: which metrics, and how matplotlib draws one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from strive_rl.inspect.history import Arm, Curve, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
