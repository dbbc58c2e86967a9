"""One item and its output → `Scored`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from strive_rl.benchmarks.item import Benchmark, Item, Scored, Status, Unusable


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
