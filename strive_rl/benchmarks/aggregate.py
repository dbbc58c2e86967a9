"""Scored questions → what they add up to: overall and by category, each with its interval. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

from strive_rl.benchmarks.item import PRODUCT, Benchmark, Convention, Scored
from strive_rl.benchmarks.verdicts import rules_only
from strive_rl.interval import Estimate, estimate, macro_estimate

Missing = Literal["wrong", "exclude"]
ABSENT = ("missing", "unusable")
OPEN = ("judged", "awaiting judge")


def summarise(
    benchmark: Benchmark, rows: Sequence[Scored], *, missing: Missing, resamples: int, seed: int
) -> dict[str, Any]:
    """Counts, totals of each convention, totals without a judge, and all that by category.

    `missing` says what becomes of questions without an answer and of unusable rows: "wrong" counts them 0,
    "exclude" leaves them out of the mean. What awaits a judge counts 0 until it is judged.
    """
    counted = [row for row in rows if missing == "wrong" or row.status not in ABSENT]
    bootstrap = (resamples, seed)
    summary: dict[str, Any] = {
        "counts": counts(rows) | {"in_the_mean": len(counted)},
        "overall": {c.name: shown(total(c, counted, bootstrap)) for c in benchmark.conventions},
    }
    if any(row.status in OPEN for row in counted):
        summary["judge"] = _judge(benchmark.conventions[0], counted, bootstrap)
    summary["by"] = {
        tag: _by(benchmark, counted, tag, bootstrap) for tag in benchmark.breakdowns if _divides(tag, counted)
    }
    return summary


def counts(rows: Sequence[Scored]) -> dict[str, int]:
    """How many rows there are of each kind; `empty` and `unreadable` answers are among the scored ones."""
    answered = [row for row in rows if row.output is not None]
    empty = [row for row in answered if not (row.output or "").strip()]
    unread = [row for row in answered if row.extracted is None]
    return {
        "questions": len(rows),
        "videos": len({row.video for row in rows}),
        "answered": len(answered),
        "missing": sum(row.status == "missing" for row in rows),
        "unusable_rows": sum(row.status == "unusable" for row in rows),
        "empty": len(empty),
        "unreadable": len(unread) - len(empty),
        "judged": sum(row.status == "judged" for row in rows),
        "awaiting_judge": sum(row.status == "awaiting judge" for row in rows),
    }


def total(convention: Convention, rows: Sequence[Scored], bootstrap: tuple[int, int]) -> Estimate | None:
    """The convention's mean over those rows that it has a rule for; None where there are none.

    What awaits a judge counts 0.
    """
    found = [row for row in rows if convention.name in row.values]
    values = [row.values[convention.name] or 0.0 for row in found]
    return mean_of(convention, values, found, bootstrap)


def mean_of(
    convention: Convention, values: Sequence[float], rows: Sequence[Scored], bootstrap: tuple[int, int]
) -> Estimate | None:
    """The convention's mean of one value a row, with its interval; `bootstrap` is (resamples, seed).

    A row that does not tell its task has no place in a mean over tasks, and is left out of that.
    """
    resamples, seed = bootstrap
    if convention.strata is None:
        return estimate(values, [row.video for row in rows], resamples=resamples, seed=seed)
    placed = [
        (value, row.video, convention.strata(row.tags)) for value, row in zip(values, rows, strict=True)
    ]
    told = [one for one in placed if one[2][0]]
    return macro_estimate(
        [value for value, _, _ in told],
        [video for _, video, _ in told],
        [place for _, _, place in told],
        resamples=resamples,
        seed=seed,
    )


def shown(made: Estimate | None) -> dict[str, Any] | None:
    """As it stands in results.json."""
    return asdict(made) if made else None


def _judge(convention: Convention, rows: Sequence[Scored], bootstrap: tuple[int, int]) -> dict[str, Any]:
    """How much a judge has to say, and the totals without one: undecided counted 0, and left out."""
    asked = [row for row in rows if row.status in OPEN]
    judged = [row for row in asked if row.status == "judged"]
    alone = [rules_only(row, convention.name) for row in rows]
    decided = [row for row in rows if row.status not in OPEN]
    return {
        "asked": len(asked),
        "share": len(asked) / len(rows),
        "judged": len(judged),
        "awaiting": len(asked) - len(judged),
        "rules_only": shown(total(convention, alone, bootstrap)),
        "decided_by_rules": shown(total(convention, decided, bootstrap)),
    }


def _by(
    benchmark: Benchmark, rows: Sequence[Scored], tag: str, bootstrap: tuple[int, int]
) -> dict[str, dict[str, Any]]:
    values = {row.tags[tag] for row in rows if tag in row.tags}
    ranked = sorted(values, key=lambda value: (_place(benchmark.order, value), value))
    return {
        value: _part(benchmark, [r for r in rows if r.tags.get(tag) == value], bootstrap) for value in ranked
    }


def _divides(tag: str, rows: Sequence[Scored]) -> bool:
    """Whether some row has the tag; one that is made of two, whether each of these takes several values."""
    parts = tag.split(PRODUCT)
    least = 1 if len(parts) == 1 else 2
    return all(len({row.tags[part] for row in rows if part in row.tags}) >= least for part in parts)


def _place(order: Sequence[str], value: str) -> int:
    return order.index(value) if value in order else len(order)


def _part(benchmark: Benchmark, rows: Sequence[Scored], bootstrap: tuple[int, int]) -> dict[str, Any]:
    part: dict[str, Any] = {c.name: shown(total(c, rows, bootstrap)) for c in benchmark.conventions}
    if any(row.status in OPEN for row in rows):
        part["judge"] = _judge(benchmark.conventions[0], rows, bootstrap)
    return part
