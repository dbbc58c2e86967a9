"""What runs wrote → curves: histories read from disk, smoothed, and the seeds of an arm joined.

Also reads a run that is still going on, or was cut. Shape letters: S steps of a run, R runs of an arm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise, takewhile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from strive_data.errors import UsageError
from strive_rl.common import jsonl
from strive_rl.common.run_settings import METRICS_FILE, SETTINGS_FILE, flat
from strive_rl.common.trackers import numbers

# Settings that may differ between the seeds of one arm.
FREE = ("seed", "steps", "save_every", "log")

# A greater value, as of a run that bursts, has no place on an axis: it counts as infinite.
LARGEST = 1e150

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """One run: `steps` float64 [S], increasing; `values` float64 [S] by dotted metric name, NaN where a step
    has no such number; `settings`, the resolved ones with model and shards, empty where they are unknown.
    Where steps lack a record, as of a file that was cut, there is one of them in `gaps`, without a value."""

    name: str
    folder: Path
    steps: Values
    values: Mapping[str, Values]
    settings: Mapping[str, Any] = field(default_factory=dict)
    gaps: frozenset[float] = frozenset()

    def smoothed(self, key: str, span: int) -> Values:
        """The averaged values of one metric; NaN at every step for a metric that the run does not have."""
        return smoothed(self.values[key], span) if key in self.values else np.full(len(self.steps), np.nan)


@dataclass(frozen=True, kw_only=True)
class Arm:
    """The runs of one curve: one run, or the seeds of one recipe."""

    name: str
    runs: tuple[History, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """`line` float64 [S] at `steps`, smoothed. Of one run: `raw`, the logged values. Of several: `low` and
    `high`, the least and the greatest smoothed value of a run at each step. NaN where there is no value."""

    steps: Values
    line: Values
    raw: Values | None = None
    low: Values | None = None
    high: Values | None = None


def read_histories(runs: Sequence[Path]) -> list[History]:
    """One history a run, each a folder of `strive-rl train` or its metrics.jsonl; their names differ.

    Raises UsageError for a run without a finished step and for a run that is given twice.
    """
    files = [run / METRICS_FILE if run.is_dir() else run for run in runs]
    folders = [file.resolve().parent for file in files]
    for place, folder in enumerate(folders):
        if folder in folders[:place]:
            raise UsageError(f"run {runs[place]} is given twice")
    return [
        _read(file, folder, name)
        for file, folder, name in zip(files, folders, _distinct_names(folders), strict=True)
    ]


def group_arms(histories: Sequence[History], *, group: bool) -> list[Arm]:
    """Each run an arm; with `group` the runs that differ only in FREE settings are one."""
    if not group:
        return [Arm(name=run.name, runs=(run,)) for run in histories]
    found: dict[str, list[History]] = {}
    for run in histories:
        found.setdefault(_recipe(run), []).append(run)
    return [Arm(name=_arm_name([run.name for run in runs]), runs=tuple(runs)) for runs in found.values()]


def arm_curve(arm: Arm, key: str, span: int) -> Curve | None:
    """The curve of one metric, or None where no run has a value.

    The mean over seeds is taken at the steps that all of them have finished.
    """
    if not any(np.isfinite(run.values[key]).any() for run in arm.runs if key in run.values):
        return None
    if len(arm.runs) == 1:
        (run,) = arm.runs
        return Curve(steps=run.steps, line=run.smoothed(key, span), raw=run.values[key])
    steps = arm.runs[0].steps
    for run in arm.runs[1:]:
        steps = np.intersect1d(steps, run.steps)
    rows_RS = np.array([run.smoothed(key, span)[np.searchsorted(run.steps, steps)] for run in arm.runs])
    rows_RS[:, np.isnan(rows_RS).any(axis=0)] = np.nan
    return Curve(steps=steps, line=rows_RS.mean(0), low=rows_RS.min(0), high=rows_RS.max(0))


def sparse_curve(arm: Arm, key: str) -> Curve | None:
    """The curve of a metric that only some steps have, joined over the others but for gaps: of one run with
    its interval, of several seeds at the steps that all have. None where no run has a value."""
    known = [run for run in arm.runs if key in run.values]
    at = [run.steps[np.isfinite(run.values[key])] for run in known]
    if not known or not any(map(len, at)):
        return None
    steps = reduce(np.intersect1d, at)
    gaps = {gap for run in known for gap in run.gaps if len(steps) and steps[0] < gap < steps[-1]}
    steps = np.array(sorted(gaps.union(steps)))
    rows_RS = np.array([_at(run, run.values[key], steps) for run in known])
    if len(arm.runs) > 1:
        return Curve(steps=steps, line=rows_RS.mean(0), low=rows_RS.min(0), high=rows_RS.max(0))
    (run,) = known
    bounds = (run.values.get(f"{key}_{end}", np.full(len(run.steps), np.nan)) for end in ("low", "high"))
    low, high = (_at(run, each, steps) for each in bounds)
    return Curve(steps=steps, line=rows_RS[0], low=low, high=high)


def _at(run: History, values_S: Values, steps: Values) -> Values:
    """The run's values at these steps; NaN at a gap of any run, which breaks the line."""
    places = np.minimum(np.searchsorted(run.steps, steps), len(run.steps) - 1)
    return np.where(run.steps[places] == steps, values_S[places], np.nan)


def smoothed(values_S: Values, span: int) -> Values:
    """Exponential moving average that reaches back about `span` values: y_t = Σ_i d^(t−i)·x_i / Σ_i d^(t−i)
    with d = 1 − 2/(span + 1), over the values that are there. NaN stays NaN; span 1 changes nothing."""
    decay = 1 - 2 / (span + 1)
    total = weight = 0.0
    averages = np.full(len(values_S), np.nan)
    for place, value in enumerate(values_S):
        total, weight = total * decay, weight * decay
        if np.isfinite(value):
            total, weight = total + value, weight + 1
            averages[place] = total / weight
    return averages


def default_span(histories: Sequence[History]) -> int:
    """A 25th of the longest run."""
    return max(1, max(len(run.steps) for run in histories) // 25)


def setting_differences(runs: Sequence[History]) -> dict[str, list[str]]:
    """Settings, model and shards that are not the same in all runs: name → the value of each run."""
    shown = ("model", "shards")
    kept = [{name: run.settings[name] for name in shown if name in run.settings} for run in runs]
    return differing([each | run.settings.get("settings", {}) for each, run in zip(kept, runs, strict=True)])


def differing(trees: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Leaves that are not the same in all nested mappings: dotted name → the value in each."""
    leaves = [dict(flat(tree)) for tree in trees]
    names = dict.fromkeys(name for each in leaves for name in each)
    rows = {name: [_shown(each.get(name)) for each in leaves] for name in names}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}


def _shown(value: object) -> str:
    """A setting as it is typed; "–" where it is not set."""
    return "–" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _read(file: Path, folder: Path, name: str) -> History:
    if not file.is_file():
        raise UsageError(f"{file}: no such file; expected the folder of a run of strive-rl train")
    # The last record of a step counts, should one have been written twice.
    records = {record["step"]: record for record in _records(file)}
    if not records:
        raise UsageError(f"{file}: no step is finished yet")
    gaps = _gaps(sorted(records))
    steps = sorted(gaps.union(records))
    rows = [numbers(records.get(step, {})) for step in steps]
    names = dict.fromkeys(key for row in rows for key in row)
    path = folder / SETTINGS_FILE
    settings = jsonl.read_json(path) if path.is_file() else {}
    if not isinstance(settings.get("settings", {}), dict):
        raise UsageError(f"{path}: expected the settings of a run of strive-rl train")
    return History(
        name=name,
        folder=folder,
        steps=np.array(steps, dtype=np.float64),
        values={key: _bounded([row.get(key, np.nan) for row in rows]) for key in names},
        settings=settings,
        gaps=frozenset(map(float, gaps)),
    )


def _gaps(steps: Sequence[int]) -> set[int]:
    """The step behind each after which some are missing: more than usual, and not as many as before or after,
    as in a file that keeps every tenth step. Pure."""
    jumps = [after - before for before, after in pairwise(steps)]
    usual = median(jumps) if jumps else 1
    beside = zip([0, *jumps], jumps, [*jumps[1:], 0], strict=False)
    far = [jump > usual and jump not in (before, after) for before, jump, after in beside]
    return {step + 1 for step, is_far in zip(steps, far, strict=False) if is_far}


def _bounded(numbers: Sequence[float]) -> Values:
    values = np.array(numbers)
    return np.where(np.abs(values) > LARGEST, np.copysign(np.inf, values), values)


def _records(file: Path) -> list[dict[str, Any]]:
    records = jsonl.read(file)
    steps = [record.get("step") if isinstance(record, dict) else None for record in records]
    if any(not isinstance(step, int) or not 0 <= step < 1 << 53 for step in steps):
        raise UsageError(f"{file}: a line without a step; expected the metrics.jsonl of a run")
    return records


def _distinct_names(folders: Sequence[Path]) -> list[str]:
    """The last parts of each path, as few as make the names differ."""
    for parts in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _recipe(run: History) -> str:
    """Equal for runs that differ only in FREE settings; a run of unknown settings equals no other."""
    if not run.settings:
        return str(run.folder)
    kept = {name: value for name, value in run.settings["settings"].items() if name not in FREE}
    rest = {name: run.settings.get(name) for name in ("model", "shards_fingerprint")}
    return json.dumps([kept, rest], sort_keys=True)


def _arm_name(names: Sequence[str]) -> str:
    """The common beginning of the names, without a cut word for the seed; else the first name."""
    if len(names) == 1:
        return names[0]
    columns = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    common = re.sub(r"[-_. ]*(seed|s)?[-_. ]*\d*$", "", "".join(letters[0] for letters in columns))
    return f"{common or names[0]} ({len(names)} seeds)"
