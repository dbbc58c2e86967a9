"""Outputs → scored questions → totals and breakdowns with their intervals. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from posixpath import splitext
from typing import Any, Literal
from unicodedata import normalize

from strive_data.common.files import VIDEO_SUFFIXES
from strive_rl.answers.vote import Election, elect
from strive_rl.benchmarks.items import (
    PRODUCT,
    Benchmark,
    Convention,
    Item,
    Scored,
    Status,
    Unusable,
    values_of,
)
from strive_rl.benchmarks.verdicts import final_text, open_form
from strive_rl.common.statistics import Estimate, estimate, macro_estimate, widened

Missing = Literal["wrong", "exclude"]
Pair = tuple[Scored, Scored]
"""A question under A and under B."""
Bootstrap = tuple[int, int]
"""(resamples, seed)"""
ABSENT = ("missing", "unusable")


def scored(benchmark: Benchmark, item: Item, output: str | None, judgement: float | None = None) -> Scored:
    """What each convention says of an item's output; a missing output (None) has the value 0.

    A judgement in [0, 1] counts where a rule is undecided, and in conventions with `judge_overrides`.
    """
    extracted: dict[str, str | None] = {}
    values: dict[str, float | None] = {}
    left_out, by_judge = [], []
    for convention in benchmark.conventions:
        verdict = convention.score(output or "", item)
        if verdict is None:
            continue
        name = convention.name
        extracted[name], values[name] = verdict.extracted, 0.0 if output is None else verdict.value
        overridden = convention.judge_overrides and judgement is not None
        if output is not None and (verdict.value is None or overridden):
            values[name] = judgement
            by_judge.append(name)
        if verdict.left_out and output is not None:
            left_out.append(name)
    status: Status = "judged" if by_judge else "scored"
    if output is None:
        status = "missing"
    elif any(value is None for value in values.values()):
        status = "awaiting judge"
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
        extracted=extracted,
        values={name: value for name, value in values.items() if name not in left_out},
        left_out=tuple(left_out),
        by_judge=tuple(by_judge),
    )


def scored_answers(benchmark: Benchmark, item: Item, outputs: Sequence[str]) -> Scored:
    """Several answers to one question: values are means, None while an answer awaits a judge."""
    rows = [scored(benchmark, item, output) for output in outputs]
    names = [c.name for c in benchmark.conventions if any(c.name in row.values for row in rows)]
    values = {name: _mean([row.values[name] for row in rows if name in row.values]) for name in names}
    waits = any(value is None for value in values.values())
    return replace(
        rows[0],
        status="awaiting judge" if waits else "scored",
        values=values,
        left_out=tuple(name for name in rows[0].left_out if name not in values),
        by_judge=tuple(name for name, value in values.items() if value is None),
        outputs=tuple(outputs),
    )


def elected(
    benchmark: Benchmark, item: Item, outputs: Sequence[str], logprobs: Sequence[float] = ()
) -> Election:
    """The vote over outputs, by what this project reads in them. Open answers, which a judge may have to
    decide, are the same where their normal forms are equal; texts that have no rule at all, and those of a
    benchmark without a judge, are compared by similarity."""
    read = benchmark.voted
    answers = [read(output, item) if read else final_text(output) for output in outputs]
    ruled = benchmark.judge_task and not benchmark.conventions[0].judge_only(item.tags)
    return elect(answers, item.question, logprobs, form=open_form if ruled else None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(values) if len(known) == len(values) else None


def unusable(benchmark: Benchmark, row: Unusable) -> Scored:
    """A row of the annotation that is not a question: its value is 0 in every convention."""
    return Scored(
        sample_id=row.sample_id,
        video=row.video or f"row of {row.sample_id}",
        status="unusable",
        question=row.message,
        tags=dict(row.tags),
        values={convention.name: 0.0 for convention in benchmark.conventions},
    )


def with_one_name_each(rows: Sequence[Scored]) -> list[Scored]:
    """The rows with one name for each video, since intervals are over videos: in one Unicode form, and
    with the ending that another row gives it."""
    names = [normalize("NFC", row.video) for row in rows]
    whole: dict[str, set[str]] = defaultdict(set)
    for name in names:
        stem, ending = splitext(name)
        if ending.lower() in VIDEO_SUFFIXES:
            whole[stem].add(name)
    # Two files of one stem, and a name without an ending is neither.
    known = {stem: min(found) for stem, found in whole.items() if len(found) == 1}
    return [replace(row, video=known.get(name, name)) for row, name in zip(rows, names, strict=True)]


def summarise(
    benchmark: Benchmark, rows: Sequence[Scored], *, missing: Missing, resamples: int, seed: int
) -> dict[str, Any]:
    """Counts, the total of each convention, what judges decide, and all that by category.

    `missing` applies to questions without an answer and to unusable rows: "wrong" gives them the value 0,
    "exclude" leaves them out of the mean. What awaits a judge counts 0 until it is judged.
    """
    included = [row for row in rows if missing == "wrong" or row.status not in ABSENT]
    bootstrap = (resamples, seed)
    summary: dict[str, Any] = {
        "counts": counts(rows) | {"in_the_mean": len(included)},
        "left_out": left_out(benchmark, included),
        "overall": {c.name: shown(total(c, included, bootstrap)) for c in benchmark.conventions},
    }
    if judge := _judge(benchmark, included, bootstrap):
        summary["judge"] = judge
    summary["by"] = {
        tag: _by(benchmark, included, tag, bootstrap)
        for tag in benchmark.breakdowns
        if _divides(tag, included)
    }
    return summary


def counts(rows: Sequence[Scored]) -> dict[str, int]:
    """How many rows there are of each kind; `empty` and `unreadable` answers are among the scored ones.

    Unreadable are answers in which no convention finds anything to score.
    """
    answered = [row for row in rows if row.output is not None]
    empty = [row for row in answered if not (row.output or "").strip()]
    unread = [row for row in answered if not any(value is not None for value in own_extracted(row))]
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


def own_extracted(row: Scored) -> list[str | None]:
    """What the benchmark's conventions read, Video-R1's aside: it takes any text for an answer."""
    return [value for name, value in row.extracted.items() if name != "video_r1"]


def total(convention: Convention, rows: Sequence[Scored], bootstrap: Bootstrap) -> Estimate | None:
    """The convention's mean over the rows that it covers; None where there are none.

    What awaits a judge counts 0, except for questions that only a judge scores (`covered`).
    """
    found = covered(convention, rows)
    values = [row.values[convention.name] or 0.0 for row in found]
    return mean_of(convention, values, found, bootstrap)


def covered(convention: Convention, rows: Sequence[Scored]) -> list[Scored]:
    """The rows in the convention's mean.

    Questions that only a judge scores are out of it, empty answers to them too, until some of the rows are
    judged; then those that still await a judge are.
    """
    name = convention.name
    found = [row for row in rows if name in row.values]
    judged = any(
        name in row.by_judge and row.values[name] is not None and convention.judge_only(row.tags)
        for row in found
    )
    return [
        row
        for row in found
        if not convention.judge_only(row.tags) or (judged and row.values[name] is not None)
    ]


def mean_of(
    convention: Convention,
    values: Sequence[float],
    rows: Sequence[Scored],
    bootstrap: Bootstrap,
    *,
    difference: bool = False,
) -> Estimate | None:
    """The convention's mean of one value a row, with its interval; of a `difference` from -1 to 1.

    A row without a task is left out of a mean over tasks.
    """
    resamples, seed = bootstrap
    if convention.strata is None:
        made = estimate(values, [row.video for row in rows], resamples=resamples, seed=seed)
    else:
        placed = [
            (value, row.video, stratum)
            for value, row in zip(values, rows, strict=True)
            if (stratum := convention.strata(row.tags))[0]
        ]
        made = macro_estimate(
            [value for value, _, _ in placed],
            [video for _, video, _ in placed],
            [stratum for _, _, stratum in placed],
            resamples=resamples,
            seed=seed,
        )
    return widened(made, difference=difference)


def shown(made: Estimate | None) -> dict[str, Any] | None:
    """The estimate as results.json holds it."""
    return asdict(made) if made else None


def left_out(benchmark: Benchmark, rows: Sequence[Scored]) -> dict[str, int]:
    """Answers that a convention does not count, as its authors' code does not."""
    numbers = {c.name: sum(c.name in row.left_out for row in rows) for c in benchmark.conventions}
    return {name: number for name, number in numbers.items() if number}


def _judge(benchmark: Benchmark, rows: Sequence[Scored], bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    """By convention: how much a judge decides, and the totals without one: undecided as 0, and left out."""
    shares = {}
    for convention in benchmark.conventions:
        name = convention.name
        undecided = [row for row in rows if name in row.by_judge]
        if not undecided:
            continue
        awaiting = sum(row.values[name] is None for row in undecided)
        decided = [row for row in rows if name not in row.by_judge]
        alone = [rules_only(row, name) for row in rows]
        shares[name] = {
            "asked": len(undecided),
            "share": len(undecided) / len(rows),
            "judged": len(undecided) - awaiting,
            "awaiting": awaiting,
            "rules_only": shown(total(convention, alone, bootstrap)),
            "decided_by_rules": shown(total(convention, decided, bootstrap)),
        }
    return shares


def rules_only(row: Scored, name: str) -> Scored:
    """The row as without a judge: what the convention's rules do not decide awaits one."""
    return replace(row, values={**row.values, name: None}) if name in row.by_judge else row


def _by(
    benchmark: Benchmark, rows: Sequence[Scored], tag: str, bootstrap: Bootstrap
) -> dict[str, dict[str, Any]]:
    values = {value for row in rows for value in values_of(row.tags, tag)}
    ranked = sorted(values, key=lambda value: (_place(benchmark.order, value), value))
    return {
        value: _part(benchmark, [r for r in rows if value in values_of(r.tags, tag)], bootstrap)
        for value in ranked
    }


def _divides(tag: str, rows: Sequence[Scored]) -> bool:
    """Whether some row has the tag; for a combined tag, whether each of its parts takes several values."""
    parts = tag.split(PRODUCT)
    least = 1 if len(parts) == 1 else 2
    return all(len({row.tags[part] for row in rows if part in row.tags}) >= least for part in parts)


def _place(order: Sequence[str], value: str) -> int:
    """Rank of a value, or of the first part of a combined one."""
    first = value.split(PRODUCT)[0]
    return order.index(first) if first in order else len(order)


def _part(benchmark: Benchmark, rows: Sequence[Scored], bootstrap: Bootstrap) -> dict[str, Any]:
    part: dict[str, Any] = {c.name: shown(total(c, rows, bootstrap)) for c in benchmark.conventions}
    if judge := _judge(benchmark, rows, bootstrap):
        part["judge"] = judge
    return part


def covered_pairs(convention: Convention, pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs of which both belong to the convention's mean."""
    first, second = (
        {row.sample_id for row in covered(convention, [pair[side] for pair in pairs])} for side in (0, 1)
    )
    shared = first & second
    return [pair for pair in pairs if pair[0].sample_id in shared]


def knowledge_gains(benchmark: Benchmark, pairs: Sequence[Pair]) -> dict[str, dict[str, float | None]]:
    """By convention, what B knows that A did not (A without the video, B with it), on the benchmark's track.

    Δ = (B − A) / (1 − A) of the accuracies; wrong → right as a share of what A had wrong, right → wrong of
    what A had right. An answer that a convention leaves out is not right.
    """
    tag, value = benchmark.knowledge or ("", "")
    track = [pair for pair in pairs if pair[0].tags.get(tag) == value]
    gains: dict[str, dict[str, float | None]] = {}
    for convention in benchmark.conventions:
        both = covered_pairs(convention, track)
        right = [tuple(row.values.get(convention.name) == 1 for row in pair) for pair in track]
        if not both:
            continue
        before, after = (
            sum(pair[side].values[convention.name] or 0.0 for pair in both) / len(both) for side in (0, 1)
        )
        gains[convention.name] = {
            "before": before,
            "after": after,
            "delta": (after - before) / (1 - before) if before < 1 else None,
            "wrong_to_right": _share(second for first, second in right if not first),
            "right_to_wrong": _share(not second for first, second in right if first),
        }
    return gains


def _share(flags: Iterable[bool]) -> float | None:
    known = list(flags)
    return sum(known) / len(known) if known else None
