"""A limit on the memory that the present process may ask for (Linux)."""

from __future__ import annotations

import resource
from pathlib import Path


def limit_memory(more_bytes: int) -> None:
    """Let this process take `more_bytes` of private memory beyond what it holds now, for ever.

    What it asks for above that is refused: a MemoryError here and in FFmpeg, at the same place each time,
    while a watch on the resident size would end it sooner or later. Files mapped and shared memory do not
    count.
    """
    limit_bytes = data_bytes() + more_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit_bytes = min(limit_bytes, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def data_bytes() -> int:
    """Private writable memory of this process: what RLIMIT_DATA counts."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "VmData":
            return int(value.split()[0]) * 1024
    raise OSError("/proc/self/status has no VmData")
