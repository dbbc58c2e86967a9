"""Accuracies of a study's runs → what each arm gains over the baseline, in OUT/study.json and as a table.

Two runs of one seed see the same questions in the same order, so their difference varies less than either.
Intervals and p-values are those of the paired t-test: they take the differences as normal.

study.json has of all runs that are finished:

study        the settings of all arms, of the evaluation and of the points; builds and models
versions     of the libraries
samplers     frame sampler, or column of a vote → comparisons of the arms after the last step
labels       of a vote: its columns in words
points       the same after each earlier share of the steps; share 0 is the accuracy of the warm starts
costs        prompts and rollouts of each arm's training; `seconds` what they took
groups       of each arm: means over steps and seeds of GROUP_METRICS (METRICS.md)
runs         accuracy of each run by arm, seed and frame sampler
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from strive_rl.common import jsonl
from strive_rl.common.run_settings import METRICS_FILE, RESULTS_FILE, library_versions
from strive_rl.eval.config import Column, EvalSettings
from strive_rl.eval.table import aligned
from strive_rl.study.plan import Job, Study

STUDY_FILE = "study.json"
COSTS = ("prompts", "rollouts")
GROUP_METRICS = (
    *("zero_advantage_share", "all_right_share", "all_wrong_share"),
    *("reward_std", "eta2", "evidence_seen_share", "accuracy"),
)

Runs = Mapping[str, Mapping[int, Job]]
Record = Mapping[str, Any]
Accuracies = Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over `count` seeds, and its standard error s/√n (None of a single one)."""

    mean: float
    error: float | None
    count: int


@dataclass(frozen=True, kw_only=True)
class Gain(Mean):
    """A mean difference with its 95 % interval and the two-sided p-value that the true one is 0; None of a
    single seed."""

    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm: its accuracy, and over the seeds that the baseline has too, its gain (None for the baseline
    itself, and without a common seed)."""

    arm: str
    accuracy: Mean | None
    gain: Gain | None


def comparisons(by_arm: Mapping[str, Accuracies], baseline: str) -> list[Comparison]:
    """Comparisons of all arms in their order; each arm maps seeds to accuracies, and may lack some."""
    base = by_arm[baseline]
    return [
        Comparison(
            arm=arm,
            accuracy=mean_of(list(values.values())),
            gain=None if arm == baseline else gain_of([values[s] - base[s] for s in values if s in base]),
        )
        for arm, values in by_arm.items()
    ]


def mean_of(values: Sequence[float]) -> Mean | None:
    """Mean and standard error; None without values."""
    count = len(values)
    if not count:
        return None
    mean = sum(values) / count
    if count == 1:
        return Mean(mean=mean, error=None, count=1)
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    return Mean(mean=mean, error=math.sqrt(variance / count), count=count)


def gain_of(differences: Sequence[float]) -> Gain | None:
    """Mean difference, its interval and p-value; None without differences."""
    made = mean_of(differences)
    if made is None:
        return None
    if made.error is None:
        return Gain(**vars(made), low=None, high=None, p=None)
    half = made.error * t_quantile(made.count - 1)
    p = float(made.mean == 0)
    if made.error:
        p = 1 - t_within(abs(made.mean) / made.error, made.count - 1)
    return Gain(**vars(made), low=made.mean - half, high=made.mean + half, p=p)


def t_within(t: float, freedom: int) -> float:
    """P(|T| ≤ t) of Student's distribution with a whole number of degrees of freedom, t ≥ 0.

    The finite sums of Abramowitz & Stegun, 26.7.3 (odd) and 26.7.4 (even).
    """
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for place in range(freedom // 2):
        total += term
        step = 2 * place + 1 + odd
        term *= cosine**2 * step / (step + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def t_quantile(freedom: int, share: float = 0.95) -> float:
    """The t with P(|T| ≤ t) = share, by bisection."""
    low, high = 0.0, 1.0
    while t_within(high, freedom) < share:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if t_within(middle, freedom) < share else (low, middle)
    return high


def write_results(study: Study, out: Path, jobs: Sequence[Job]) -> None:
    """Write OUT/study.json of all runs that are finished."""
    done: dict[str, dict[int, Job]] = {arm.name: {} for arm in study.arms}
    for job in jobs:
        if job.settings and job.finished:
            done[job.folder.parent.name][job.settings.seed] = job
    records = {name: {seed: _records(job) for seed, job in runs.items()} for name, runs in done.items()}
    columns = _columns(study)
    # Seconds belong to the machine: all else is equal in two runs of one study.
    body = jsonl.read_json(out / STUDY_FILE) | {
        "versions": library_versions(),
        "samplers": {name: _compared(study, done, -1, name) for name in columns},
        "points": [
            *_start(study, jobs),
            *(
                {"share": share, "samplers": {name: _compared(study, done, place, name) for name in columns}}
                for place, share in enumerate(study.points[:-1])
            ),
        ],
        "costs": {
            arm: {name: sum(row[name] for rows in runs.values() for row in rows) for name in COSTS}
            for arm, runs in records.items()
        },
        "seconds": {
            arm: round(sum(row["seconds"]["total"] for rows in runs.values() for row in rows), 1)
            for arm, runs in records.items()
        },
        "groups": {arm: _groups(runs.values()) for arm, runs in records.items()},
        "runs": {
            arm: {str(seed): _accuracies(job, job.steps[-1]) for seed, job in runs.items()}
            for arm, runs in done.items()
        },
    }
    if study.evaluation.variants > 1 or study.evaluation.vote:
        body["labels"] = {each.name: _label(each, study.evaluation) for each in study.evaluation.columns}
    jsonl.write_json(out / STUDY_FILE, body)


def study_table(results: Record) -> str:
    """Results as lines for the terminal, in per cent and points, ± one standard error."""
    tables = ["\n".join(aligned(table_rows(results, sampler))) for sampler in results["samplers"]]
    return "\n\n".join(tables)


def table_rows(results: Record, sampler: str) -> list[tuple[str, ...]]:
    """The header and a row for each arm of one frame sampler's table."""
    header = (label_of(results, sampler), "accuracy", "gain", "95 % interval", "p", "seeds")
    rows: list[tuple[str, ...]] = [(*header, *COSTS, "seconds")]
    for each in results["samplers"][sampler]:
        arm, gain = each["arm"], each["gain"]
        p = "-" if gain is None or gain["p"] is None else f"{gain['p']:.2g}"
        shown = (shown_mean(each["accuracy"]), shown_mean(gain, "+"), shown_interval(gain), p)
        seeds = str(each["accuracy"]["count"]) if each["accuracy"] else "0"
        costs = (f"{results['costs'][arm][name]:,}" for name in COSTS)
        rows.append((arm, *shown, seeds, *costs, f"{results['seconds'][arm]:,.0f}"))
    return rows


def label_of(results: Record, sampler: str) -> str:
    """The frame sampler, or column of a vote, in words."""
    return str(results.get("labels", {}).get(sampler, f"{sampler} frames"))


def shown_mean(mean: Record | None, sign: str = "") -> str:
    """A mean in per cent, ± one standard error."""
    if mean is None:
        return "-"
    error = "" if mean["error"] is None else f" ± {100 * mean['error']:.1f}"
    return f"{100 * mean['mean']:{sign}.1f}{error}"


def shown_interval(gain: Record | None) -> str:
    """The interval of a gain in points."""
    if gain is None or gain["low"] is None:
        return "-"
    return f"{100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}"


def _columns(study: Study) -> list[str]:
    return [column.name for column in study.evaluation.columns]


def _label(column: Column, settings: EvalSettings) -> str:
    """Of one answer the view; of several how they count."""
    counted = "vote over " if settings.vote else "mean of "
    return f"{column.sampler} frames, {counted if column.answers > 1 else ''}{column.way}"


def _compared(study: Study, done: Runs, point: int, sampler: str) -> list[dict[str, Any]]:
    """Comparisons of the arms at one of the points."""
    by_arm = {
        name: {
            seed: accuracies[sampler]
            for seed, job in runs.items()
            if sampler in (accuracies := _accuracies(job, job.steps[point]))
        }
        for name, runs in done.items()
    }
    return [asdict(each) for each in comparisons(by_arm, study.arms[0].name)]


def _start(study: Study, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """The accuracy of the warm starts, once all are known."""
    starts = [job for job in jobs if job.settings is None]
    if not starts or not all(job.finished for job in starts):
        return []
    known = [_accuracies(job, 0) for job in starts]
    means = {name: mean_of([each[name] for each in known if name in each]) for name in _columns(study)}
    return [{"share": 0.0, "samplers": {name: asdict(mean) for name, mean in means.items() if mean}}]


def _accuracies(job: Job, step: int) -> dict[str, float]:
    samplers = jsonl.read_json(job.results(step) / RESULTS_FILE)["samplers"]
    return {name: each["accuracy"]["mean"] for name, each in samplers.items() if each["accuracy"]}


def _records(job: Job) -> list[dict[str, Any]]:
    return jsonl.read(job.folder / "run" / METRICS_FILE)


def _groups(runs: Iterable[Sequence[Record]]) -> dict[str, Any]:
    """Means over the steps of each run, then over the runs; a metric without a value is left out."""
    every = list(runs)
    made = {}
    for name in GROUP_METRICS:
        known = [[row[name] for row in rows if row[name] is not None] for rows in every]
        mean = mean_of([sum(values) / len(values) for values in known if values])
        if mean:
            made[name] = asdict(mean)
    return made
