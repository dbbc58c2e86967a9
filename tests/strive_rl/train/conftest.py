"""Runs of the tiny model on a small build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strive_data.shards.reader import ShardSet
from strive_rl.common import jsonl
from strive_rl.train.metrics import MEASURED
from strive_rl.train.state import METRICS_FILE, TrainState, open_run
from tests.strive_rl.made.models import answering

RunOf = Callable[..., TrainState]


def quiet(record: dict[str, Any], steps: int) -> None:
    """An observer that shows nothing."""


def records(out: Path) -> list[dict[str, Any]]:
    """The metrics of a run, without times."""
    return [
        {name: value for name, value in record.items() if name not in MEASURED}
        for record in jsonl.read(out / METRICS_FILE)
    ]


@pytest.fixture(scope="session")
def run_of(shards: ShardSet, tiny_folder: Path) -> RunOf:
    """Starts a run in a folder, or resumes it; its policy says whole answers alone."""

    def made(out: Path, settings: Any, **other: Any) -> TrainState:
        run = open_run(out, settings=settings, **({"shards": shards, "model": str(tiny_folder)} | other))
        run.policy = answering(run.policy)
        return run

    return made
