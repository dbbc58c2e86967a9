"""Seconds by phase of a step."""

from __future__ import annotations

import time


class Stopwatch:
    """Laps add up under their names; the clock starts when it is made."""

    def __init__(self) -> None:
        self._laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Give the time since the last lap to `name`."""
        now = time.perf_counter()
        self._laps[name] = self._laps.get(name, 0.0) + now - self._last
        self._last = now

    def seconds(self) -> dict[str, float]:
        """Seconds of each lap, and their sum as `total`."""
        return self._laps | {"total": sum(self._laps.values())}
