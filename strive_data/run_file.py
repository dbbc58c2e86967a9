"""`run.json` is written last: its presence says that a build is complete, its hashes that it is unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from strive_data.atomic import write_json
from strive_data.seal import FILES, file_hashes, seal
from strive_data.shards import RUN_FILE

HASHED = (".json", ".parquet")


def write_run(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record with the sha256 of every table and JSON file of the folder, and its own in the end.

    The tars' hashes are in their manifests, and so in this chain too.
    """
    files = [path.name for path in folder.iterdir() if path.suffix in HASHED and path.name[0] != "."]
    hashes = file_hashes(folder, (name for name in files if name != RUN_FILE))
    write_json(folder / RUN_FILE, seal({**record, FILES: hashes}))
