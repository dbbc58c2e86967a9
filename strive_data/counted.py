"""Counts in words, for all that is printed: "1 sample", "2 samples"."""

from __future__ import annotations

from collections.abc import Mapping


def counted(count: int, noun: str, form: str = "") -> str:
    """The count in that format (as "," for thousands), and its noun, with an s unless it is one."""
    return f"{count:{form}} {noun}{'' if count == 1 else 's'}"


def listed(counts: Mapping[str, int]) -> str:
    """Counts by plural, as `run.json` has them: "1 sample, 2 tried videos"."""
    return ", ".join(
        counted(count, name.removesuffix("s").replace("_", " ")) for name, count in counts.items()
    )
