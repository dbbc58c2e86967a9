"""What to do when the device is full."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from strive_data.errors import UsageError
from strive_rl.config import PolicySettings

# Seconds by phase of a step.


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


# How much memory this process has taken at most since it began.

# getrusage counts KiB on Linux and bytes on macOS.
RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def peak_memory(device: torch.device) -> dict[str, int]:
    """Bytes: `process`, resident at most; on a CUDA device also `device`, of tensors, and `device_reserved`,
    with what the allocator keeps for more."""
    held = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT_BYTES}
    if device.type == "cuda":
        held["device"] = torch.cuda.max_memory_allocated(device)
        held["device_reserved"] = torch.cuda.max_memory_reserved(device)
    return held


@contextmanager
def memory_advice(settings: PolicySettings) -> Iterator[None]:
    """Turn running out of the device's memory into a UsageError that names the settings to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        first = str(error).partition(". ")[0]
        raise UsageError(
            f"{first}: lower policy.groups_per_pass (now {settings.groups_per_pass}) or set "
            "policy.gradient_checkpointing=true, with which a run can also be resumed; or lower "
            f"policy.prompts_per_pass (now {settings.prompts_per_pass}) or policy.logits_chunk_tokens (now "
            f"{settings.logits_chunk_tokens})"
        ) from error
