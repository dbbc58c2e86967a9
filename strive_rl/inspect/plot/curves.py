"""Histories → curves: smoothed, and seeds of one arm drawn together. Pure.

Shape letters: S steps of a run, R runs of an arm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from strive_rl.inspect.plot.history import History, Values

# What may differ between the seeds of one arm.
FREE = ("seed", "steps", "save_every", "log")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Runs that one curve stands for."""

    name: str
    runs: tuple[History, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """`line` float64 [S] at `steps`, smoothed. Of one run: `raw`, as it was written. Of several: `low` and
    `high`, the least and the greatest smoothed value of a run at each step. NaN where there is no value."""

    arm: int
    steps: Values
    line: Values
    raw: Values | None = None
    low: Values | None = None
    high: Values | None = None


def arms(histories: Sequence[History], *, group: bool) -> list[Arm]:
    """Each run an arm; with `group` the runs that differ by nothing but their seed and length are one."""
    if not group:
        return [Arm(name=each.name, runs=(each,)) for each in histories]
    found: dict[str, list[History]] = {}
    for each in histories:
        found.setdefault(_recipe(each), []).append(each)
    return [Arm(name=_arm_name([run.name for run in runs]), runs=tuple(runs)) for runs in found.values()]


def curve(place: int, arm: Arm, key: str, span: int) -> Curve | None:
    """The curve of a number, the `place`-th arm's; None where no run of it has any value.

    A mean over seeds is taken at the steps that all of them have finished.
    """
    values = [run.values[key] for run in arm.runs if key in run.values]
    if not any(np.isfinite(each).any() for each in values):
        return None
    if len(arm.runs) == 1:
        (run,) = arm.runs
        return Curve(arm=place, steps=run.steps, line=smoothed(values[0], span), raw=values[0])
    steps = _common_steps(arm.runs)
    rows_RS = np.array([_at(run, key, steps, span) for run in arm.runs])
    known_S = np.isfinite(rows_RS).all(axis=0)
    low, mean, high = (
        np.where(known_S, made, np.nan) for made in (rows_RS.min(0), rows_RS.mean(0), rows_RS.max(0))
    )
    return Curve(arm=place, steps=steps, line=mean, low=low, high=high)


def smoothed(values_S: Values, span: int) -> Values:
    """Exponential moving average that reaches back about `span` values: y_t = Σ_i d^(t−i)·x_i / Σ_i d^(t−i)
    with d = 1 − 2/(span + 1), over the values that are there. NaN stays NaN; span 1 changes nothing."""
    decay = 1 - 2 / (span + 1)
    total = weight = 0.0
    made = np.full(len(values_S), np.nan)
    for place, value in enumerate(values_S):
        total, weight = total * decay, weight * decay
        if np.isfinite(value):
            total, weight = total + value, weight + 1
            made[place] = total / weight
    return made


def default_span(histories: Sequence[History]) -> int:
    """A 25th of the longest run."""
    return max(1, max(len(each.steps) for each in histories) // 25)


def _at(run: History, key: str, steps: Values, span: int) -> Values:
    if key not in run.values:
        return np.full(len(steps), np.nan)
    return smoothed(run.values[key], span)[np.searchsorted(run.steps, steps)]


def _common_steps(runs: Sequence[History]) -> Values:
    steps = runs[0].steps
    for run in runs[1:]:
        steps = np.intersect1d(steps, run.steps)
    return steps


def _recipe(run: History) -> str:
    """What makes two runs the same but for their seed; a run of unknown settings is like no other."""
    if not run.settings:
        return str(run.folder)
    kept = {name: value for name, value in run.settings["settings"].items() if name not in FREE}
    rest: Mapping[str, Any] = {name: run.settings.get(name) for name in ("model", "shards_fingerprint")}
    return json.dumps([kept, rest], sort_keys=True)


def _arm_name(names: Sequence[str]) -> str:
    """What the names begin with, without a cut word for the seed; the first name where that is nothing."""
    if len(names) == 1:
        return names[0]
    common = re.sub(r"[-_. ]*(seed|s)?[-_. ]*\d*$", "", _common_prefix(names))
    return f"{common or names[0]} ({len(names)} seeds)"


def _common_prefix(names: Sequence[str]) -> str:
    """The letters that all begin with."""
    columns = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in columns)
