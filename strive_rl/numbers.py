"""The numbers of a step's record, flat: what a curve can be drawn of. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def numbers(record: Mapping[str, Any]) -> dict[str, float]:
    """Every number of a record by its dotted name (METRICS.md).

    Places of a list of numbers are names too (`reward_by_variant.0`); a list of anything else counts by its
    length (`dropped`). What is None is left out.
    """
    return dict(_numbers(record, ""))


def _numbers(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield from _listed(f"{prefix}{name}", value)
        elif _is_number(value):
            yield prefix + name, float(value)


def _listed(name: str, values: list[Any]) -> Iterator[tuple[str, float]]:
    if values and all(_is_number(value) for value in values):
        yield from ((f"{name}.{place}", float(value)) for place, value in enumerate(values))
    elif not name.endswith("_by_variant"):
        yield name, float(len(values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
