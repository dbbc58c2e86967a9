"""Folders of runs that hold what a test writes into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from strive_rl.common import jsonl
from strive_rl.inspect.history import History


def make_run(folder: Path, rewards: Sequence[float | None], *, last: str = "", **settings: Any) -> Path:
    """A run with one step for each reward; `last` is put behind them, as a crash leaves a line."""
    folder.mkdir(parents=True)
    rows = [
        {"step": step, "reward": value, "seconds": {"total": 2.0}}
        for step, value in enumerate(rewards, start=1)
    ]
    jsonl.append(folder / "metrics.jsonl", rows)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(last)
    if settings:
        body = {"settings": settings, "model": "m", "shards": "s", "shards_fingerprint": "f"}
        jsonl.write_json(folder / "settings.json", body)
    return folder


def history(
    name: str, values: Sequence[float], *, first: int = 1, settings: Mapping[str, Any] | None = None
) -> History:
    """A history of rewards, one step after another."""
    steps = np.arange(first, first + len(values), dtype=np.float64)
    given = {"settings": dict(settings), "model": "m"} if settings is not None else {}
    return History(
        name=name, folder=Path(name), steps=steps, values={"reward": np.array(values)}, settings=given
    )
