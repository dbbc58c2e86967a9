"""How much memory this process has taken at most since it began."""

from __future__ import annotations

import resource
import sys

import torch

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
