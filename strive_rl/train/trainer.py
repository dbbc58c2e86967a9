"""The order of training, and nothing else: collect → reward → advantage → update → record, step after step.

Departures from a textbook GRPO loop: a group is one question with M views of its video; a prompt is computed
once for its G completions, in sampling as in the update; questions with zero advantage cost no backward pass.
Of several processes each samples and learns its part of the questions, and all get the record of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from strive_data.errors import StriveError
from strive_rl.algorithm.advantage import advantages
from strive_rl.common import distributed, jsonl, run_folder
from strive_rl.common.profiling import Stopwatch, peak_memory
from strive_rl.common.progress import phase
from strive_rl.common.run_settings import METRICS_FILE, ROLLOUTS_FILE
from strive_rl.common.signals import StoppedError, StopRequest
from strive_rl.config import AlgorithmSettings
from strive_rl.data import state_of
from strive_rl.policy.lora import adapter_weights
from strive_rl.schema import Group
from strive_rl.train import checkpoint
from strive_rl.train.checkpoint import AsyncSaver
from strive_rl.train.collect import collect
from strive_rl.train.metrics import log_rows, step_record, to_send
from strive_rl.train.optimizer import learning_rate
from strive_rl.train.state import TrainState
from strive_rl.train.update import learned_part, update
from strive_rl.train.validation import exhausted, validate

# Nats. Rounding in bfloat16 gives some 0.02.
MOST_GAP = 0.1

Observer = Callable[[dict[str, Any], int], None]


def train_step(run: TrainState) -> dict[str, Any]:
    """Run one step, validate where that is due, and return the step's record.

    Appends to metrics.jsonl and rollouts.jsonl; changes the run's policy, optimizer, cursor, step and best.
    """
    step, watch, settings = run.step + 1, Stopwatch(), run.settings
    groups, own, after = collect(run, watch)
    phase("updating")
    groups = with_advantages(groups, settings.algorithm)
    rate = learning_rate(run.step, settings.optim, settings.steps)
    own.update = update(
        run.policy,
        run.optimizer,
        learned_part(groups, settings.algorithm),  # the filter is here
        settings.algorithm,
        temperature=settings.rollout.temperature,
        learning_rate=rate,
        step=step,
        reference=run.reference,
        dummy=run.dummy,
    )
    watch.lap("update")
    own.groups = list(map(to_send, groups))
    own.seconds, own.memory_bytes = watch.seconds(), peak_memory(run.policy.device)
    parts = distributed.all_gather(own)
    record = step_record(step, parts, settings.algorithm, learning_rate=rate)
    run.step, run.cursor = step, after
    validate(run, record)  # adds to the record, sets run.best
    if distributed.is_first():
        jsonl.append(run.out / METRICS_FILE, [record])
        everything = [group for part in parts for group in part.groups]
        jsonl.append(run.out / ROLLOUTS_FILE, log_rows(step, everything, settings.algorithm))
    _require_agreement(run, record)  # after writing, so that the step can be read; its update is applied
    return record


def with_advantages(groups: Sequence[Group], settings: AlgorithmSettings) -> list[Group]:
    """The groups with the advantage of each completion."""
    return [replace(group, advantages=advantages(group.reward_grid(), settings)) for group in groups]


def _require_agreement(run: TrainState, record: dict[str, Any]) -> None:
    """Raise StriveError where another engine samples from another distribution than the one trained."""
    gap = record["logprob_gap_mean"]
    if run.engine and gap is not None and gap > MOST_GAP:
        raise StriveError(
            f"step {record['step']}: rollout.engine={run.settings.rollout.engine} and the trainer differ by "
            f"{gap:.2g} nats a token on average, expected at most {MOST_GAP}: they do not read the same "
            "prompt or weights; train with rollout.engine=builtin"
        )


def fit(run: TrainState, observe: Observer, request: StopRequest | None = None) -> Path:
    """Train up to `settings.steps`, or until validation ends it; the folder of the finished model, OUT/model.

    Calls `observe(record, steps)` after each step, on the first process. Raises StoppedError, after a
    checkpoint, once a signal requests the end of any process. A GPU trains while a checkpoint is written; on
    a CPU the two would slow each other down.
    """
    folder = run.out / run_folder.MODEL_FOLDER
    with closing(run.loader), AsyncSaver(background=run.policy.device.type == "cuda") as saver:
        if early := _signal(request):
            raise StoppedError(early, run.step)
        while run.step < run.settings.steps and not exhausted(run):
            record = train_step(run)
            if distributed.is_first():
                observe(record, run.settings.steps)
            stop = _signal(request)
            ended = run.step == run.settings.steps or exhausted(run)
            improved = run.best is not None and run.best.step == run.step
            if stop or ended or improved or run.step % run.settings.save_every == 0:
                _save(run, saver)
            if stop and not ended:
                saver.wait()
                raise StoppedError(stop, run.step)
        phase("saving the model")
        weights = checkpoint.snapshot(run.policy, copy=saver.background)
        if distributed.is_first():
            saver.submit(partial(checkpoint.write, folder, run.policy, weights))
    return folder


def _save(run: TrainState, saver: AsyncSaver) -> None:
    """A checkpoint of the run, written by the first process; the oldest but the best one are removed."""
    phase(f"saving the checkpoint of step {run.step}")
    best = run.best.step if run.best else None
    folder = run_folder.checkpoint_folder(run.out, run.step)
    state, weights = _state(run), checkpoint.snapshot(run.policy, copy=saver.background)

    def write() -> None:
        checkpoint.write(folder, run.policy, weights, state)
        if best is not None:
            run_folder.link_best(run.out, run_folder.checkpoint_folder(run.out, best))
        run_folder.prune(run.out, run.settings.keep, best)

    if distributed.is_first():
        saver.submit(write)


def _signal(request: StopRequest | None) -> int | None:
    """The signal that requests the end of any process."""
    signals = distributed.all_gather(request.signal if request else None)
    return next((each for each in signals if each), None)


def _state(run: TrainState) -> dict[str, Any]:
    return {
        "step": run.step,
        "data": state_of(run.cursor, run.loader.stream),
        "adapters": adapter_weights(run.policy.model),
        "optimizer": run.optimizer.state(),
        **({"best": asdict(run.best)} if run.best else {}),
    }
