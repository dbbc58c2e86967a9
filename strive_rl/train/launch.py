"""A training run as the command line starts it: with the other processes, under signals, in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from strive_data.common.console import echo
from strive_data.common.settings import as_dict
from strive_data.common.text import plural
from strive_rl.common import distributed, jsonl
from strive_rl.common.preflight import RESUME
from strive_rl.common.profiling import oom_hint
from strive_rl.common.progress import TrainProgress
from strive_rl.common.run_settings import METRICS_FILE
from strive_rl.common.signals import StoppedError, StopRequest, listening
from strive_rl.common.trackers import require_trackers, tracking
from strive_rl.config import TrainSettings
from strive_rl.train import trainer
from strive_rl.train.state import TrainState
from strive_rl.train.validation import closing_lines


def launch(make: Callable[[], TrainState], settings: TrainSettings) -> None:
    """Train the run that `make` opens (`state.open_run`), and say how it ended. Raises DiskFullError where
    there is no room, SystemExit for a run that a signal stopped. The caller holds the lock of its folder
    (preflight.locked)."""
    require_trackers(settings.log)
    with distributed.processes(settings.timeout_minutes), listening() as stop, TrainProgress() as progress:
        with distributed.propagate_errors():
            run = make()
        _train(run, stop, progress)


def _train(run: TrainState, stop: StopRequest, progress: TrainProgress) -> None:
    names = run.settings.log if distributed.is_first() else ()
    try:
        with (
            tracking(names, run.out, as_dict(run.settings), run.step) as track,
            oom_hint(run.settings.policy),
        ):

            def observe(record: dict[str, Any], steps: int) -> None:
                progress(record, steps)
                track(record)

            try:
                folder = trainer.fit(run, observe, stop)
            finally:
                progress.end()
    except StoppedError as stopped:
        _say(f"{stopped}; to resume, {RESUME}", err=True)
        raise SystemExit(stopped.exit_code) from stopped
    metrics = run.out / METRICS_FILE
    _say(f"{folder}: the model after step {run.step}; metrics in {metrics}")
    for line in closing_lines(run):
        _say(line)
    if warning := never_updated(jsonl.read(metrics)):
        _say(warning, err=True)


def never_updated(records: Sequence[dict[str, Any]]) -> str:
    """A warning where no step of a run changed the weights, with what its metrics say of the reason."""
    if not records or any(record.get("updates") for record in records):
        return ""
    cut = sum(record.get("truncated_share") or 0 for record in records) / len(records)
    return (
        f"warning: the weights did not change; in none of {plural(len(records), 'step')} did completions "
        f"that are compared differ in accuracy; {cut:.0%} of completions reached rollout.max_new_tokens"
    )


def _say(line: str, *, err: bool = False) -> None:
    if distributed.is_first():
        echo(line, err=err)
