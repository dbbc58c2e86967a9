"""Counts in words, for all that is printed: "1 sample", "2 samples"."""

from __future__ import annotations

from collections.abc import Mapping


def counted(count: int, noun: str, form: str = "") -> str:
    """The count in that format (as "," for thousands), and its noun, with an s unless it is one."""
    return f"{count:{form}} {noun}{'' if count == 1 else 's'}"


def listed(counts: Mapping[str, int]) -> str:
    """The counts of `run.json`: "1 sample, 2 videos"; the tried videos only where some gave no sample."""
    same = counts.get("tried_videos") == counts.get("videos")
    shown = {name: count for name, count in counts.items() if not (same and name == "tried_videos")}
    return ", ".join(
        counted(count, name.removesuffix("s").replace("_", " ")) for name, count in shown.items()
    )
