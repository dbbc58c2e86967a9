"""Results of a benchmark as a plain table for the terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from strive_rl.table import aligned, interval, mean

MOST_VALUES = 12  # categories of more values are in results.json and on the page only


def score_table(results: dict[str, Any]) -> str:
    """Total and categories in per cent with 95 % intervals, the conventions side by side; notes below."""
    names = list(results["conventions"])
    own = names[0]
    header = ("", own, "95 % interval", *names[1:], "questions", "videos")
    rows = [header, _row(results["title"], results["overall"], names)]
    for values in results["by"].values():
        if len(values) <= MOST_VALUES:
            rows += [_row(f"  {value}", part, names) for value, part in values.items()]
    return "\n".join([*aligned(rows), *_judge(results), *(f"note: {note}" for note in results["notes"])])


def _row(label: str, part: dict[str, Any], names: list[str]) -> tuple[str, ...]:
    own = part[names[0]]
    counts = (str(own["questions"]), str(own["videos"])) if own else ("0", "0")
    return (label, mean(own, 2), interval(own), *(mean(part[name], 2) for name in names[1:]), *counts)


def _judge(results: dict[str, Any]) -> Iterator[str]:
    judge = results.get("judge")
    if not judge:
        return
    yield (
        f"rules cannot tell {judge['asked']} answers ({100 * judge['share']:.1f} %): "
        f"{judge['judged']} judged, {judge['awaiting']} await a judge and count 0 until then"
    )
    yield (
        f"without a judge: {mean(judge['rules_only'], 2)} with them counted 0, "
        f"{mean(judge['decided_by_rules'], 2)} over the others"
    )
