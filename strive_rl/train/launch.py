"""A training run as the command line starts it: with the other processes, under signals, in words."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from strive_data.common.settings import as_dict
from strive_data.shards.reader import ShardSet
from strive_rl.common import distributed
from strive_rl.common.profiling import memory_advice
from strive_rl.common.progress import TrainProgress
from strive_rl.common.signals import StoppedError, StopRequest, listening
from strive_rl.common.trackers import require_trackers, tracking
from strive_rl.config import TrainSettings
from strive_rl.train import state, trainer

FAILED = 2


def launch(
    shards: Sequence[ShardSet], *, model: str, out: Path, settings: TrainSettings, resume: bool
) -> int:
    """Train, and say how it ended; the exit code. The first of several processes speaks for all."""
    require_trackers(settings.log)
    try:
        with distributed.processes(settings.timeout_minutes), listening() as asked:
            return _train(shards, model, out, settings, resume, asked)
    except distributed.PeerFailedError:
        return FAILED


def _train(
    shards: Sequence[ShardSet],
    model: str,
    out: Path,
    settings: TrainSettings,
    resume: bool,
    asked: StopRequest,
) -> int:
    open_run = state.resume if resume else state.start
    with distributed.propagate_errors():
        run = open_run(out, shards=shards, model=model, settings=settings)
    try:
        told = settings.log if distributed.is_first() else ()
        with (
            TrainProgress() as progress,
            tracking(told, out, as_dict(settings), run.step) as tell,
            memory_advice(settings.policy),
        ):

            def observe(record: dict[str, Any], steps: int) -> None:
                progress(record, steps)
                tell(record)

            folder = trainer.fit(run, observe, asked)
    except StoppedError as stopped:
        _say(f"{stopped}; to go on, give the same command with --resume", sys.stderr)
        return stopped.exit_code
    _say(f"{folder}: the model after step {run.step}; metrics in {out / state.METRICS_FILE}", sys.stdout)
    return 0


def _say(line: str, stream: TextIO) -> None:
    if distributed.is_first():
        print(line, file=stream)
