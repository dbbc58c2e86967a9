"""What a step takes: seconds by phase, peak memory, and which settings to lower where it is too much."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from strive_data.errors import UsageError
from strive_rl.config import PolicySettings


class Stopwatch:
    """Seconds by phase: laps add up under their names; the clock starts when it is made."""

    def __init__(self) -> None:
        self._laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Add the time since the last lap to `name`, with what a GPU has not finished."""
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's annotation is incomplete
            torch.cuda.synchronize()
        now = time.perf_counter()
        self._laps[name] = self._laps.get(name, 0.0) + now - self._last
        self._last = now

    def seconds(self) -> dict[str, float]:
        """Seconds of each lap, and their sum as `total`."""
        return self._laps | {"total": sum(self._laps.values())}


# getrusage counts KiB on Linux and bytes on macOS.
RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def peak_memory(device: torch.device) -> dict[str, int]:
    """Peak bytes so far: `process`, resident; on a CUDA device also `device`, of tensors, and
    `device_reserved`, with what the allocator keeps."""
    peak = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT_BYTES}
    if device.type == "cuda":
        peak["device"] = torch.cuda.max_memory_allocated(device)
        peak["device_reserved"] = torch.cuda.max_memory_reserved(device)
    return peak


@contextmanager
def oom_hint(settings: PolicySettings) -> Iterator[None]:
    """Turn running out of the device's memory into a UsageError that names the settings to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        first = str(error).partition(". ")[0]
        raise UsageError(
            f"{first}: set policy.gradient_checkpointing=true or lower policy.groups_per_pass (now "
            f"{settings.groups_per_pass}; both may change when a run is resumed); or lower "
            f"policy.prompts_per_pass (now {settings.prompts_per_pass}) or policy.logits_chunk_tokens (now "
            f"{settings.logits_chunk_tokens})"
        ) from error
