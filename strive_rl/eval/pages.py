"""HTML pages of a scored benchmark, and of two systems on it: results in, text out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from strive_data.common.text import plural, render
from strive_rl.benchmarks.items import Scored
from strive_rl.eval.table import compared_name, interval, judge_lines, knowledge_line, mean, points, readings

T = TypeVar("T")
Values = dict[str, Any]

TEMPLATES = Path(__file__).parent / "templates"
EXAMPLES = 8  # of each kind
MOST_CHARACTERS = 1500  # of an output
MOST_READ = 200  # characters of an extracted answer


def score_page(results: Mapping[str, Any], rows: Sequence[Scored]) -> str:
    """Totals, categories and examples of one scored benchmark."""
    names = list(results["conventions"])
    totals = [
        {
            "name": name,
            "mean": mean(results["overall"][name], 2),
            "interval": interval(results["overall"][name]),
            "note": results["conventions"][name],
        }
        for name in readings(results)
    ]
    return render(
        TEMPLATES / "score.html",
        title=results["title"],
        totals=totals,
        facts=list(_facts(results)),
        notes=[*judge_lines(results), *results["notes"]],
        tables=[_table(tag, values, names) for tag, values in _dividing(results["by"])],
        examples=list(_score_examples(rows, names)),
    )


def _facts(results: Mapping[str, Any]) -> Iterator[str]:
    yield from results.get("made", ())
    yield from (f"outputs of {each['file']}" for each in results.get("inputs", {}).get("predictions", ()))
    counts = results["counts"]
    yield f"{plural(counts['questions'], 'question')} on {plural(counts['videos'], 'video')}"
    yield f"{counts['answered']} answered"
    for name in ("missing", "unusable_rows"):
        if counts[name]:
            yield f"{counts[name]} {name.replace('_', ' ')}"
    yield f"{counts['empty']} empty, {counts['unreadable']} without a readable answer"


def _dividing(by: Mapping[str, Values]) -> Iterator[tuple[str, Values]]:
    """The breakdowns that have more than one part."""
    return ((tag, values) for tag, values in by.items() if len(values) > 1)


def _table(tag: str, values: Mapping[str, Any], names: Sequence[str]) -> Values:
    lead, *others = names
    lines = [
        {
            "label": value,
            "bar": bar_shape(part[lead]) if part[lead] else None,
            "cells": [
                mean(part[lead]),
                interval(part[lead]),
                *(mean(part[name]) for name in others),
                part[lead]["questions"] if part[lead] else 0,
            ],
        }
        for value, part in values.items()
    ]
    return {"tag": tag, "head": [lead, "95 % interval", *others, "questions"], "lines": lines}


def compare_page(results: Mapping[str, Any], pairs: Sequence[tuple[Scored, Scored]]) -> str:
    """The difference B − A, by category, and questions that B won and lost."""
    sign, videos = results["sign_test"], results["sign_test_videos"]
    totals = [
        {
            "name": name,
            "points": points(part["difference"], 2),
            "interval": interval(part["difference"], "+"),
            "a": mean(part["a"], 2),
            "b": mean(part["b"], 2),
        }
        for name, part in results["readings"].items()
    ]
    return render(
        TEMPLATES / "compare.html",
        title=f"{results['title'][:1].upper()}{results['title'][1:]}: B\u00a0−\u00a0A",
        totals=totals,
        sign=f"{results['convention']}: B is better on {plural(sign['won'], 'question')}, worse on "
        f"{sign['lost']}, equal on {sign['tied']}: sign test p = {sign['p']:.3g} (questions taken as "
        f"independent; over videos {videos['p']:.3g}).",
        knowledge=knowledge_line(results),
        a=compared_name(results, "a"),
        b=compared_name(results, "b"),
        notes=[
            *(f"A and B differ in more than the model: {line}" for line in results["unlike"]),
            *results["notes"],
        ],
        tables=[_compared_table(tag, values) for tag, values in _dividing(results["by"])],
        examples=list(_compared_examples(pairs, results["convention"], list(results["readings"]))),
    )


def _compared_table(tag: str, values: Mapping[str, Any]) -> Values:
    ends = [part["difference"][name] or 0.0 for part in values.values() for name in ("mean", "low", "high")]
    widest = max(map(abs, ends))  # the largest distance of an estimate and its interval from 0
    lines = [
        {
            "label": value,
            "bar": bar_shape(part["difference"], widest),
            "cells": [
                points(part["difference"], 1),
                interval(part["difference"], "+"),
                mean(part["a"]),
                mean(part["b"]),
                part["won"],
                part["lost"],
                part["difference"]["questions"],
            ],
        }
        for value, part in values.items()
    ]
    head = ["B − A", "95 % interval", "A", "B", "won", "lost", "questions"]
    return {"tag": tag, "head": head, "lines": lines}


def bar_shape(estimate: Mapping[str, Any], widest: float | None = None) -> Values:
    """Places of a bar (the mean) and a whisker (its interval) in per cent of the width.

    The full width is 100 %, or with `widest` the range from −widest to +widest.
    """
    signed = widest is not None

    def place(value: float) -> float:
        return 50 + 50 * value / (widest or 1) if signed else 100 * value

    zero, end = place(0), place(estimate["mean"])
    known = estimate["low"] is not None
    low, high = (place(estimate["low"]), place(estimate["high"])) if known else (0.0, 0.0)
    return {
        "left": f"{min(zero, end):.2f}",
        "width": f"{abs(end - zero):.2f}",
        "low": f"{low:.2f}" if known else None,
        "span": f"{high - low:.2f}",
        "signed": signed,
        "style": "less" if estimate["mean"] < 0 else "more" if signed else "plain",
    }


def _score_examples(rows: Sequence[Scored], names: Sequence[str]) -> Iterator[Values]:
    lead = names[0]
    answered = [row for row in rows if row.status in ("scored", "judged")]
    kinds = {
        "Wrong": [row for row in answered if not row.values.get(lead)],
        "Right": [row for row in answered if row.values.get(lead)],
        "Awaiting a judge": [row for row in rows if row.status == "awaiting judge"],
        "Without an answer": [row for row in rows if row.status in ("missing", "unusable")],
    }
    for kind, found in kinds.items():
        if found:
            shown = [{"row": row, "output": _output(row, names)} for row in spread(found, EXAMPLES)]
            yield {"title": kind, "count": len(found), "shown": shown}


def _compared_examples(
    pairs: Sequence[tuple[Scored, Scored]], name: str, names: Sequence[str]
) -> Iterator[Values]:
    gains = [((b.values.get(name) or 0.0) - (a.values.get(name) or 0.0), a, b) for a, b in pairs]
    for title, sign in (("Won by B", 1), ("Lost by B", -1)):
        found = [(a, b) for gain, a, b in gains if gain * sign > 0]
        shown = [
            {"row": b, "a": _output(a, names), "b": _output(b, names)} for a, b in spread(found, EXAMPLES)
        ]
        yield {"title": title, "count": len(found), "shown": shown}


def spread(found: Sequence[T], count: int) -> list[T]:
    """`count` of them, evenly spread, the first among them."""
    count = min(count, len(found))
    return [found[k * len(found) // count] for k in range(count)]


def _output(row: Scored, names: Sequence[str]) -> Values:
    """An output, what each reading makes of it, and the frames that it was made from."""
    if row.output is None:
        return {"lines": [{"style": "wrong", "verdict": row.status, "text": ""}], "frames": "", "text": None}
    text = row.output
    if len(text) > MOST_CHARACTERS:
        text = text[:MOST_CHARACTERS] + f" … ({len(row.output) - MOST_CHARACTERS} more characters)"
    shown = [name for name in names if name != "video_r1" and (name in row.values or name in row.left_out)]
    return {
        "lines": [_reading(row, name, alone=len(names) == 1) for name in shown],
        "frames": _frames(row),
        "text": text,
    }


def _reading(row: Scored, name: str, *, alone: bool) -> Values:
    extracted = row.extracted.get(name)
    read = "no answer found" if extracted is None else f"read as: {extracted[:MOST_READ]}"
    value = row.values.get(name)
    if name in row.left_out:
        verdict = "left out"
    elif value is None:
        verdict = "awaits a judge"
    else:
        verdict = {0.0: "wrong", 1.0: "right"}.get(value, f"{value:.2f}")
    style = verdict if verdict in ("right", "wrong") else "partly"
    return {"style": style, "verdict": verdict, "text": read if alone else f"{name} · {read}"}


def _frames(row: Scored) -> str:
    """The frames that the answer was made from, where the prediction holds them."""
    times = row.frames.get("times")
    if not isinstance(times, list) or not times:
        return ""
    names = " ".join(filter(None, [str(row.frames.get("sampler", "")), "frames"]))
    return f"{len(times)} {names} at {', '.join(f'{time:g}' for time in times)} s"
