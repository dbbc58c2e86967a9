"""What runs wrote, read to be drawn: also of a run that still goes on, or was cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from strive_data.errors import UsageError
from strive_rl.common import jsonl
from strive_rl.common.trackers import numbers

METRICS_FILE, SETTINGS_FILE = "metrics.jsonl", "settings.json"

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """One run: `steps` float64 [S], increasing; `values` float64 [S] by dotted name, NaN where a step has no
    such number; `settings`, the resolved ones with model and shards, empty where they are not known."""

    name: str
    folder: Path
    steps: Values
    values: Mapping[str, Values]
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_histories(runs: Sequence[Path]) -> list[History]:
    """One history a run, each a folder of `strive-rl train` or its metrics.jsonl; their names are told apart.

    Raises UsageError for a run without a finished step and for one that is given twice.
    """
    files = [run / METRICS_FILE if run.is_dir() else run for run in runs]
    folders = [file.resolve().parent for file in files]
    for place, folder in enumerate(folders):
        if folder in folders[:place]:
            raise UsageError(f"run {runs[place]} is given twice")
    return [
        _read(file, folder, name) for file, folder, name in zip(files, folders, _names(folders), strict=True)
    ]


def _read(file: Path, folder: Path, name: str) -> History:
    if not file.is_file():
        raise UsageError(f"{file}: no such file; expected the folder of a run of strive-rl train")
    # By step: the last record of a step stands, should one have been written twice.
    records = {record["step"]: record for record in _records(file)}
    if not records:
        raise UsageError(f"{file}: no step is finished yet")
    rows = [numbers(records[step]) for step in sorted(records)]
    names = dict.fromkeys(key for row in rows for key in row)
    settings = folder / SETTINGS_FILE
    return History(
        name=name,
        folder=folder,
        steps=np.array(sorted(records), dtype=np.float64),
        values={key: np.array([row.get(key, np.nan) for row in rows]) for key in names},
        settings=jsonl.read_json(settings) if settings.is_file() else {},
    )


def _records(file: Path) -> list[dict[str, Any]]:
    records = jsonl.read(file)
    if any(not isinstance(record, dict) or not isinstance(record.get("step"), int) for record in records):
        raise UsageError(f"{file}: a line without a step; expected the metrics.jsonl of a run")
    return records


def _names(folders: Sequence[Path]) -> list[str]:
    """The last parts of each path, as few as tell them apart."""
    for parts in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]
