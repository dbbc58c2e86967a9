"""Results of a benchmark as a plain table for the terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from strive_data.counted import counted
from strive_rl.table import aligned, interval, mean

MOST_VALUES = 12  # categories of more values are in results.json and on the page only


def score_table(results: dict[str, Any]) -> str:
    """Total and categories in per cent with 95 % intervals, the conventions side by side; notes below."""
    names = list(results["conventions"])
    own = names[0]
    header = ("", own, "95 % interval", *names[1:], "questions", "videos")
    rows = [header, _row(results["title"], results["overall"], names)]
    for tag, values in _shown(results):
        rows.append((f"by {tag}", *[""] * (len(header) - 1)))
        rows += [_row(f"  {value}", part, names) for value, part in values.items()]
    return "\n".join([*_lines(rows), *_judge(results), *(f"note: {note}" for note in results["notes"])])


def _lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    return (line.rstrip() for line in aligned(rows))


def _shown(results: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The categories that fit on a screen and tell more than the total."""
    for tag, values in results["by"].items():
        if 1 < len(values) <= MOST_VALUES:
            yield tag, values


def _row(label: str, part: dict[str, Any], names: list[str]) -> tuple[str, ...]:
    own = part[names[0]]
    counts = (str(own["questions"]), str(own["videos"])) if own else ("0", "0")
    return (label, mean(own, 2), interval(own), *(mean(part[name], 2) for name in names[1:]), *counts)


def _judge(results: dict[str, Any]) -> Iterator[str]:
    judge = results.get("judge")
    if not judge:
        return
    yield (
        f"rules cannot tell {counted(judge['asked'], 'answer')} ({100 * judge['share']:.1f} %): "
        f"{judge['judged']} judged, {judge['awaiting']} await a judge and count 0 until then"
    )
    yield (
        f"without a judge: {mean(judge['rules_only'], 2)} with them counted 0, "
        f"{mean(judge['decided_by_rules'], 2)} over the others"
    )


def compare_table(results: dict[str, Any]) -> str:
    """B − A in points with 95 % intervals, overall and by category; the sign tests and notes below."""
    header = ("B − A", "points", "95 % interval", "A", "B", "won", "lost", "questions")
    rows = [header, _compared_row(results["title"], results["overall"] | results["sign_test"])]
    for tag, values in _shown(results):
        rows.append((f"by {tag}", *[""] * (len(header) - 1)))
        rows += [_compared_row(f"  {value}", part) for value, part in values.items()]
    test, videos = results["sign_test"], results["sign_test_videos"]
    return "\n".join(
        [
            *_lines(rows),
            f"sign test over questions, as if independent: p = {test['p']:.3g} "
            f"({test['won']} won, {test['lost']} lost, {test['tied']} tied)",
            f"sign test over videos: p = {videos['p']:.3g} "
            f"({videos['won']} won, {videos['lost']} lost, {videos['tied']} tied)",
            *(f"note: {note}" for note in results["notes"]),
        ]
    )


def _compared_row(label: str, part: dict[str, Any]) -> tuple[str, ...]:
    difference = part["difference"]
    return (
        label,
        f"{100 * difference['mean']:+.2f}",
        interval(difference, "+"),
        mean(part["a"], 2),
        mean(part["b"], 2),
        str(part["won"]),
        str(part["lost"]),
        str(difference["questions"]),
    )
