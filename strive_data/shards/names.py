"""Names of the files of a build. No imports, so that every module can use it."""

from __future__ import annotations

import re

RUN_FILE = "run.json"
"""Written last: its presence says that the build is complete."""
BUILD_FILE = "build.json"
"""Written first: the settings that the build started with."""
TRAILING_FILE = "tail.json"
"""Rows that failed after the last sample; absent if there are none."""
SAMPLES_FILE, FRAMES_FILE, FAILURES_FILE = "samples.parquet", "frames.parquet", "failures.parquet"
INDEX_FILE = "index.parquet"
PASS_RATES_FILE = "pass_rates.parquet"
"""Written beside a build by `strive-rl probe`; not part of it."""
TABLE_FILES = (SAMPLES_FILE, FRAMES_FILE, FAILURES_FILE, INDEX_FILE)
PART_TABLES = ("samples", "frames")
"""Tables of which each shard has a part."""

SHARD = r"shard-\d{6,9}"
SHARD_TAR = rf"^{SHARD}\.tar$"
_SHARD_FILE = re.compile(rf"({SHARD})\.(tar|json|samples\.parquet|frames\.parquet)")


def shard_name(number: int) -> str:
    """Name of the tar of this number."""
    return f"shard-{number:06d}.tar"


def manifest_name(shard: str) -> str:
    """Name of the manifest of a tar."""
    return f"{shard.removesuffix('.tar')}.json"


def part_name(shard: str, table: str) -> str:
    """Name of the file that holds the rows of a tar in a table."""
    return f"{shard.removesuffix('.tar')}.{table}.parquet"


def shard_of(name: str) -> str | None:
    """The tar that a file belongs to; None for a file of no shard."""
    found = _SHARD_FILE.fullmatch(name)
    return f"{found.group(1)}.tar" if found else None


def is_manifest(name: str) -> bool:
    """Whether it is the name of a manifest."""
    return name.endswith(".json") and shard_of(name) is not None
