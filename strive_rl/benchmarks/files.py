"""Where a benchmark's annotation lies below its data root, under the names it was published by."""

from __future__ import annotations

from pathlib import Path

from strive_data.errors import UsageError
from strive_rl.benchmarks.item import Benchmark


def find_annotations(benchmark: Benchmark, data_root: Path) -> tuple[Path, ...]:
    """The benchmark's files: of each the first pattern that some file fits, in alphabetical order.

    Raises UsageError where there is none, or no such folder. One of several that is absent is not missed
    here: results say how many questions were published.
    """
    if not data_root.is_dir():
        raise UsageError(f"--data-root {data_root}: no such folder")
    found = [path for patterns in benchmark.files for path in _first(patterns, data_root)]
    if not found:
        wanted = ", ".join(" or ".join(patterns) for patterns in benchmark.files)
        looked = f": none of {wanted} in {data_root}" if wanted else ""
        raise UsageError(f"no annotation of {benchmark.title}{looked}; name its files by --annotations")
    return tuple(found)


def _first(patterns: tuple[str, ...], folder: Path) -> list[Path]:
    matches = (sorted(path for path in folder.glob(pattern) if path.is_file()) for pattern in patterns)
    return next((found for found in matches if found), [])
