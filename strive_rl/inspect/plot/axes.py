"""From numbers to places in a panel: ranges, round ticks, linear and logarithmic scales. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strive_rl.inspect.plot.history import Values

# Share of raw values that may lie beyond the panel on each side, so that one spike does not flatten a curve.
OUTLIERS = 0.01
MARGIN = 0.06  # of the range, above and below
LONE = 0.5  # room around a constant: of itself, or of a decade
ROUNDING = 1e-9  # relative: what averaging a constant leaves
MOST_TICKS = 5
LEAST_LOG = 1e-12
NARROW_DECADES = 2.5


@dataclass(frozen=True, kw_only=True)
class Scale:
    """`low` and `high` are the ends of the panel, in the scale's own unit: log10 of the value where `log`."""

    low: float
    high: float
    log: bool = False

    def place(self, values: Values) -> Values:
        """0 at the low end, 1 at the high one; beyond them outside of [0, 1]; NaN where there is no place."""
        if self.log:
            positive = np.where(values > 0, values, np.nan)
            values = np.log10(positive)
        return (values - self.low) / (self.high - self.low)


def scale_of(lines: Sequence[Values], raws: Sequence[Values] = (), *, log: bool = False) -> Scale:
    """A scale that shows all of `lines` and the `raws` but for their outliers."""
    known = _finite(lines, log)
    loose = _finite(raws, log)
    if len(loose):
        known = np.concatenate([known, np.quantile(loose, [OUTLIERS, 1 - OUTLIERS])])
    if not len(known):
        return Scale(low=0.0, high=1.0, log=log)
    low, high = float(known.min()), float(known.max())
    constant = high - low <= ROUNDING * max(abs(low), abs(high))
    room = (LONE if log else abs(high) * LONE or LONE) if constant else (high - low) * MARGIN
    return Scale(low=low - room, high=high + room, log=log)


def ticks(scale: Scale) -> list[float]:
    """Round values within the scale, in its own unit: multiples of 1, 2 or 5 times a power of ten; of a wide
    logarithmic scale the powers of ten alone."""
    if scale.log and scale.high - scale.low < NARROW_DECADES:
        return _within_decades(scale)
    raw = (scale.high - scale.low) / MOST_TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    if scale.log:
        step = max(1.0, round(step))
    first = math.ceil(scale.low / step - 1e-9)
    return [number * step for number in range(first, math.floor(scale.high / step + 1e-9) + 1)]


def tick_text(tick: float, scale: Scale) -> str:
    """A short text: 0.25, 12k, 2M, 1e-5."""
    value = 10**tick if scale.log else tick
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.4g}M"
    if size >= 1e4:
        return f"{value / 1e3:.4g}k"
    return "0" if size < 1e-12 else f"{value:.4g}".replace("e-0", "e-")


def _within_decades(scale: Scale) -> list[float]:
    powers = range(math.floor(scale.low), math.ceil(scale.high) + 1)
    places = (power + math.log10(factor) for power in powers for factor in (1, 2, 5))
    return [place for place in places if scale.low <= place <= scale.high]


def _finite(given: Sequence[Values], log: bool) -> Values:
    joined = np.concatenate(list(given)) if given else np.empty(0)
    kept = joined[np.isfinite(joined)]
    shown: Values = np.log10(kept[kept > LEAST_LOG]) if log else kept
    return shown
