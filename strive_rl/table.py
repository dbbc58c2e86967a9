"""results.json as a plain table for the terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from strive_data.counted import counted

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
            lines.append(f"gain, {sampler} frames: {shown}, {counted(gain['questions'], 'question')}")
    if results["dropped"]:
        lines.append(f"dropped: {counted(len(results['dropped']), 'prompt')}, see results.json")
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
