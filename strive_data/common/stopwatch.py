"""Seconds spent in each stage of a build, so that the slowest can be named."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, get_args

WorkStage = Literal["decode", "model", "encode", "write"]
"""decode: in workers, summed over them; model: the scorer; encode: choosing frames, JPEG; write: shards."""

WORK_STAGES: tuple[WorkStage, ...] = get_args(WorkStage)

Seconds = Mapping[WorkStage, float]


class Stopwatch:
    """Adds up wall-clock seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[WorkStage, float] = dict.fromkeys(WORK_STAGES, 0.0)

    @contextmanager
    def stage(self, name: WorkStage) -> Iterator[None]:
        """Count the seconds of the block to `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - started

    def add(self, seconds: Seconds) -> None:
        """Add what another stopwatch counted."""
        for name, spent in seconds.items():
            self.seconds[name] += spent
