"""Counts in words, for all that is printed: "1 sample", "2 samples"."""

from __future__ import annotations


def counted(count: int, noun: str, form: str = "") -> str:
    """The count in that format (as "," for thousands), and its noun, with an s unless it is one."""
    return f"{count:{form}} {noun}{'' if count == 1 else 's'}"
