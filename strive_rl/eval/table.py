"""Results of a benchmark as a plain table for the terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from strive_data.common.text import plural

# results.json as a plain table for the terminal. Pure.

HEADER = ("frames", "accuracy", "95 % interval", "questions", "evidence seen", "evidence missed", "format")


def results_table(results: dict[str, Any]) -> str:
    """Accuracy by frame sampler in per cent, with intervals; below it the gain over a baseline, if any."""
    rows = [HEADER]
    for sampler, summary in results["samplers"].items():
        accuracy = summary["accuracy"]
        rows.append(
            (
                sampler,
                mean(accuracy),
                interval(accuracy),
                str(accuracy["questions"]) if accuracy else "0",
                _counted(summary["evidence_seen"]),
                _counted(summary["evidence_missed"]),
                "-" if summary["format"] is None else f"{100 * summary['format']:.1f}",
            )
        )
    lines = aligned(rows)
    for sampler, gain in results.get("gain", {}).items():
        if gain:
            shown = f"{100 * gain['mean']:+.1f} points, 95 % interval {interval(gain, sign='+')}"
            lines.append(f"gain, {sampler} frames: {shown}, {plural(gain['questions'], 'question')}")
    if results["dropped"]:
        lines.append(f"dropped: {plural(len(results['dropped']), 'prompt')}, see results.json")
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with columns of one width, the first to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def mean(estimate: dict[str, Any] | None, decimals: int = 1) -> str:
    """An estimate's mean in per cent."""
    return "-" if estimate is None else f"{100 * estimate['mean']:.{decimals}f}"


def _counted(estimate: dict[str, Any] | None) -> str:
    return "-" if estimate is None else f"{100 * estimate['mean']:.1f} ({estimate['questions']})"


def interval(estimate: dict[str, Any] | None, sign: str = "") -> str:
    """An estimate's interval in per cent."""
    if estimate is None or estimate["low"] is None:
        return "-"
    return f"{100 * estimate['low']:{sign}.1f} to {100 * estimate['high']:{sign}.1f}"


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
        f"rules cannot tell {plural(judge['asked'], 'answer')} ({100 * judge['share']:.1f} %): "
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
