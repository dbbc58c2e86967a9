"""Where everything of a page of curves stands: one layout that svg.py and png.py draw.

Pure: arms in, shapes out, in pixels from the top left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

import numpy as np

from strive_data.errors import UsageError
from strive_data.inspect.timeline import AXIS_COLOUR, COLOURS, LABEL_COLOUR, Dot, Label, Line, Point
from strive_rl.inspect.plot.axes import Scale, scale_of, tick_text, ticks
from strive_rl.inspect.plot.curves import Arm, Curve, curve
from strive_rl.inspect.plot.history import Values
from strive_rl.inspect.plot.panels import PANELS, Panel

COLUMNS, PANEL_WIDTH, PANEL_HEIGHT, GAP, MARGIN = 3, 350, 190, 20, 16
GUTTER, HEAD, FOOT = 48, 22, 20  # of a panel: left of the axis, above and below it
LEGEND_HEIGHT, SWATCH, LETTER = 20, 18, 7.0
MORE_COLOURS = ("#8c5a3c", "#c2519c", "#5b6b7a", "#7d9a1f", "#e07b39", "#3b3b8f")
PALETTE = (*COLOURS, *MORE_COLOURS)
GRID_COLOUR = "#ececec"
NOTE_LETTERS = 170
FAINT, BAND = 0.28, 0.18  # opacity over white


@dataclass(frozen=True, kw_only=True)
class Area:
    """A filled polygon."""

    points: tuple[Point, ...]
    colour: str


@dataclass(kw_only=True)
class Chart:
    """A picture of `width`×`height`: areas, then lines, dots and labels."""

    width: int
    height: int = 0
    areas: list[Area] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """The inside of a panel, and what its ends mean."""

    left: float
    top: float
    width: float
    height: float
    across: Scale
    up: Scale

    def points(self, steps: Values, values: Values) -> list[Point]:
        """Places of finite values; one beyond the panel is put on its edge."""
        x = self.left + self.width * self.across.place(steps)
        y = self.top + self.height * (1 - self.up.place(values).clip(0, 1))
        return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def chart(arms: Sequence[Arm], span: int) -> Chart:
    """All panels of which some arm has a value other than 0, and the names of the rest below.

    Raises UsageError for more arms than colours.
    """
    if len(arms) > len(PALETTE):
        raise UsageError(
            f"{len(arms)} curves: a page tells {len(PALETTE)} apart; give fewer runs, or --group"
        )
    made = Chart(width=2 * MARGIN + COLUMNS * PANEL_WIDTH + (COLUMNS - 1) * GAP)
    top = _legend(made, arms)
    found = [(panel, _curves(arms, panel, span)) for panel in PANELS]
    empty = [panel.title for panel, curves in found if not curves]
    zero = [panel.title for panel, curves in found if curves and all(_is_zero(each) for each in curves)]
    shown = [(panel, curves) for panel, curves in found if panel.title not in (*empty, *zero)]
    across = _across(arms)
    for place, (panel, curves) in enumerate(shown):
        row, column = divmod(place, COLUMNS)
        _panel(
            made,
            panel,
            curves,
            across,
            MARGIN + column * (PANEL_WIDTH + GAP),
            top + row * (PANEL_HEIGHT + GAP),
        )
    rows = -(-len(shown) // COLUMNS)
    end = _notes(made, empty, zero, top + rows * (PANEL_HEIGHT + GAP) + MARGIN)
    made.height = round(end + MARGIN)
    return made


def faint(colour: str, opacity: float) -> str:
    """The colour that a translucent stroke has on white."""
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(255 + (part - 255) * opacity):02x}" for part in parts)


def runs_of_finite(values: Values) -> list[slice]:
    """The stretches without a gap."""
    known = np.concatenate([[False], np.isfinite(values), [False]])
    (edges,) = np.nonzero(known[1:] != known[:-1])
    return [slice(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def thinned(steps: Values, values: Values, buckets: int = PANEL_WIDTH) -> tuple[Values, Values]:
    """At most the least and the greatest value of each of `buckets` equal stretches: what a pen that is one
    pixel wide would draw of all of them."""
    if len(values) <= 2 * buckets:
        return steps, values
    kept: list[int] = []
    for part in np.array_split(np.arange(len(values)), buckets):
        kept += sorted({int(part[values[part].argmin()]), int(part[values[part].argmax()])})
    return steps[kept], values[kept]


def _is_zero(one: Curve) -> bool:
    values = [each for each in (one.line, one.raw, one.low, one.high) if each is not None]
    return all((each[np.isfinite(each)] == 0).all() for each in values)


def _notes(made: Chart, empty: Sequence[str], zero: Sequence[str], top: float) -> float:
    """What is not drawn, in words; where they end."""
    texts = [
        f"{what}: {'; '.join(titles)}."
        for what, titles in (("No values", empty), ("0 at every step", zero))
        if titles
    ]
    lines = [line for text in texts for line in wrap(text, NOTE_LETTERS)]
    for place, text in enumerate(lines):
        y = top + place * LEGEND_HEIGHT
        made.labels.append(Label(x=MARGIN, y=y, text=text, colour=LABEL_COLOUR, anchor="start"))
    return top + len(lines) * LEGEND_HEIGHT


def _curves(arms: Sequence[Arm], panel: Panel, span: int) -> list[Curve]:
    reach = span if panel.smooth else 1
    found = (curve(place, arm, panel.key, reach) for place, arm in enumerate(arms))
    return [each for each in found if each is not None]


def _across(arms: Sequence[Arm]) -> Scale:
    steps = [run.steps for arm in arms for run in arm.runs]
    low, high = min(each[0] for each in steps), max(each[-1] for each in steps)
    return Scale(low=float(low), high=float(high)) if low < high else Scale(low=low - 0.5, high=high + 0.5)


def _legend(made: Chart, arms: Sequence[Arm]) -> float:
    """Names and colours, wrapped; where the panels begin."""
    x, y = float(MARGIN), MARGIN + 12.0
    for place, arm in enumerate(arms):
        width = SWATCH + 6 + LETTER * len(arm.name) + 20
        if x > MARGIN and x + width > made.width - MARGIN:
            x, y = float(MARGIN), y + LEGEND_HEIGHT
        made.lines.append(Line(points=((x, y - 4), (x + SWATCH, y - 4)), colour=PALETTE[place], width=3))
        made.labels.append(Label(x=x + SWATCH + 6, y=y, text=arm.name, colour="#222222", anchor="start"))
        x += width
    return y + LEGEND_HEIGHT


def _panel(
    made: Chart, panel: Panel, curves: Sequence[Curve], across: Scale, left: float, top: float
) -> None:
    lines = [each for one in curves for each in (one.line, one.low, one.high) if each is not None]
    frame = _Frame(
        left=left + GUTTER,
        top=top + HEAD,
        width=PANEL_WIDTH - GUTTER,
        height=PANEL_HEIGHT - HEAD - FOOT,
        across=across,
        up=scale_of(lines, [one.raw for one in curves if one.raw is not None], log=panel.log),
    )
    title = Label(x=left, y=top + 12, text=panel.title, colour="#222222", anchor="start", bold=True)
    made.labels.append(title)
    _grid(made, frame)
    for one in curves:
        _band(made, frame, one)
    for one in curves:
        if one.raw is not None:
            _stroke(made, frame, one.steps, one.raw, faint(PALETTE[one.arm], FAINT), 1)
    for one in curves:
        _stroke(made, frame, one.steps, one.line, PALETTE[one.arm], 1.8)


def _grid(made: Chart, frame: _Frame) -> None:
    right, bottom = frame.left + frame.width, frame.top + frame.height
    for tick in ticks(frame.up):
        y = bottom - frame.height * (tick - frame.up.low) / (frame.up.high - frame.up.low)
        made.lines.append(Line(points=((frame.left, y), (right, y)), colour=GRID_COLOUR, width=1))
        text = tick_text(tick, frame.up)
        made.labels.append(Label(x=frame.left - 5, y=y + 4, text=text, colour=LABEL_COLOUR))
    made.lines.append(Line(points=((frame.left, bottom), (right, bottom)), colour=AXIS_COLOUR, width=1))
    for tick in (tick for tick in ticks(frame.across) if tick == round(tick)):
        x = frame.left + frame.width * (tick - frame.across.low) / (frame.across.high - frame.across.low)
        made.lines.append(Line(points=((x, bottom), (x, bottom + 4)), colour=AXIS_COLOUR, width=1))
        anchor = Label(
            x=x, y=bottom + 16, text=tick_text(tick, frame.across), colour=LABEL_COLOUR, anchor="middle"
        )
        made.labels.append(anchor)


def _band(made: Chart, frame: _Frame, one: Curve) -> None:
    if one.low is None or one.high is None:
        return
    for part in runs_of_finite(one.low):
        steps = one.steps[part]
        below = frame.points(*thinned(steps, one.low[part]))
        above = frame.points(*thinned(steps, one.high[part]))
        if len(below) > 1:
            points = (*below, *reversed(above))
            made.areas.append(Area(points=points, colour=faint(PALETTE[one.arm], BAND)))


def _stroke(made: Chart, frame: _Frame, steps: Values, values: Values, colour: str, width: float) -> None:
    """A line through values that follow each other; a value between two gaps is a dot."""
    placed = np.where(np.isfinite(frame.up.place(values)), values, np.nan)
    for part in runs_of_finite(placed):
        points = frame.points(*thinned(steps[part], placed[part]))
        if len(points) > 1:
            made.lines.append(Line(points=tuple(points), colour=colour, width=width))
        else:
            made.dots.extend(_dot(points, colour, width))


def _dot(points: Sequence[Point], colour: str, width: float) -> Iterator[Dot]:
    for point in points:
        yield Dot(centre=point, radius=width, colour=colour, title="")
