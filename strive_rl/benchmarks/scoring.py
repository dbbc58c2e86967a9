"""Scored questions → what they add up to: overall and by category, each with its interval. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from strive_rl.benchmarks.item import PRODUCT, Benchmark, Convention, Item, Scored, Status, Unusable
from strive_rl.common.statistics import Estimate, estimate, macro_estimate

# One item and its output → `Scored`. Pure.


def scored(benchmark: Benchmark, item: Item, output: str | None, judgement: float | None = None) -> Scored:
    """What each convention says of an item's output; None is a missing one, which is worth 0.

    A judgement in [0, 1] counts where the benchmark's own rules cannot tell, and nowhere else.
    """
    verdicts = {
        convention.name: verdict
        for convention in benchmark.conventions
        if (verdict := convention.score(output or "", item)) is not None
    }
    values = {name: 0.0 if output is None else verdict.value for name, verdict in verdicts.items()}
    own = benchmark.conventions[0].name
    status: Status = "missing" if output is None else "scored"
    if own in values and values[own] is None:
        status = "awaiting judge" if judgement is None else "judged"
        values[own] = judgement
    question = item.question
    return Scored(
        sample_id=question.sample_id,
        video=question.video,
        status=status,
        question=question.question,
        options=question.options,
        reference=question.answer,
        tags=dict(item.tags),
        output=output,
        extracted=verdicts[own].extracted if own in verdicts else None,
        values=values,
    )


def scored_answers(benchmark: Benchmark, item: Item, outputs: Sequence[str]) -> Scored:
    """Several answers to one question: values are means over them, None where a judge must tell of any."""
    rows = [scored(benchmark, item, output) for output in outputs]
    values = {name: _mean([row.values[name] for row in rows]) for name in rows[0].values}
    waits = values.get(benchmark.conventions[0].name, 0.0) is None
    status: Status = "awaiting judge" if waits else "scored"
    return replace(rows[0], status=status, values=values, outputs=tuple(outputs))


def _mean(values: Sequence[float | None]) -> float | None:
    told = [value for value in values if value is not None]
    return sum(told) / len(values) if len(told) == len(values) else None


def unusable(benchmark: Benchmark, row: Unusable) -> Scored:
    """A row of the annotation that is no question: worth 0 in every convention."""
    return Scored(
        sample_id=row.sample_id,
        video=row.video or f"row of {row.sample_id}",
        status="unusable",
        question=row.message,
        tags=dict(row.tags),
        values={convention.name: 0.0 for convention in benchmark.conventions},
    )


def rules_only(row: Scored, name: str) -> Scored:
    """The row as if there were no judge: what the rules cannot tell counts 0, as without a judge it does."""
    if row.status not in ("judged", "awaiting judge"):
        return row
    return replace(row, values={**row.values, name: 0.0})


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
