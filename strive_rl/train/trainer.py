"""The order of training, and nothing else: groups → rollouts → advantages → update, step after step.

Departures from a textbook loop: the group is one question with M views of its video; a prompt is computed
once for its G completions, in sampling as in the update; questions that teach nothing cost no backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from strive_data.common.text import plural
from strive_rl.algorithm.advantage import VariancePool, batch_advantages, variance_pool
from strive_rl.algorithm.reward import score
from strive_rl.algorithm.schedule import learning_rate
from strive_rl.common import distributed, jsonl
from strive_rl.common.profiling import Stopwatch, peak_memory
from strive_rl.common.signals import StoppedError, StopRequest
from strive_rl.data import Batch, state_of
from strive_rl.policy.lora import adapter_weights
from strive_rl.policy.sharding import unsharded
from strive_rl.rollout.builtin import Encoded, reward_grid
from strive_rl.schema import Rewards, Rollout
from strive_rl.train import checkpoint
from strive_rl.train.checkpoint import AsyncSaver
from strive_rl.train.collect import Gathered, collect, next_alpha
from strive_rl.train.examples import make_examples
from strive_rl.train.metrics import step_facts, step_record
from strive_rl.train.rollout_log import readable
from strive_rl.train.state import METRICS_FILE, ROLLOUTS_FILE, TrainState
from strive_rl.train.update import UpdateStats, update

QUESTIONS_TO_READ = 2

Observer = Callable[[dict[str, Any], int], None]


def fit(run: TrainState, observe: Observer, asked: StopRequest | None = None) -> Path:
    """Train up to `settings.steps`; the folder of the finished model, OUT/model.

    Every step appends to metrics.jsonl and rollouts.jsonl and is told to `observe(record, steps)`; of several
    processes the first one does that. Raises StoppedError, behind a checkpoint, once a signal has `asked` a
    process to end. A GPU goes on training while a checkpoint is written; a CPU would only be slowed down.
    """
    folder = run.out / checkpoint.MODEL_FOLDER
    with closing(run.loader), AsyncSaver(background=run.policy.device.type == "cuda") as writer:
        while run.step < run.settings.steps:
            record = train_step(run)
            if distributed.is_first():
                observe(record, run.settings.steps)
            stop = _signal(asked)
            if stop or run.step % run.settings.save_every == 0 or run.step == run.settings.steps:
                _save(run, writer)
            if stop and run.step < run.settings.steps:
                writer.wait()
                raise StoppedError(stop, run.step)
        model = checkpoint.snapshot(run.policy)
        if distributed.is_first():
            writer.submit(partial(checkpoint.write, folder, run.policy, model))
    return folder


def _save(run: TrainState, writer: AsyncSaver) -> None:
    """A checkpoint of the run, written by the first process; the oldest give way to it."""
    folder = checkpoint.checkpoint_folder(run.out, run.step)
    taken = checkpoint.snapshot(run.policy, _state(run))

    def write() -> None:
        checkpoint.write(folder, run.policy, taken)
        checkpoint.prune(run.out, run.settings.keep)

    if distributed.is_first():
        writer.submit(write)


def _signal(asked: StopRequest | None) -> int | None:
    """The signal that asked any process to end."""
    signals = distributed.all_gather(asked.signal if asked else None)
    return next((each for each in signals if each), None)


def train_step(run: TrainState) -> dict[str, Any]:
    """One step: moves policy, optimizer, cursor and step; writes and gives its record.

    Of several processes each asks and learns its part of the questions; all get the record of the whole.
    """
    step, watch = run.step + 1, Stopwatch()
    asked = _ask(run, step, watch)
    rewards = [reward_grid(rollout) for rollout in asked.rollouts]
    grids = batch_advantages(rewards, run.settings.algorithm, _pool(rewards))
    rate = learning_rate(run.step, run.settings.optim, run.settings.steps)
    stats = _learn(run, step, asked, grids, rate)
    watch.lap("update")
    record = _record(run, step, asked, grids, stats, rate, watch)
    excerpt = _excerpt(step, asked.rollouts, grids)
    run.step, run.cursor = step, asked.batch.after
    run.alpha = next_alpha(run.alpha, run.loader, run.settings, step, asked.outcome)
    if distributed.is_first():
        jsonl.append(run.out / METRICS_FILE, [record])
        jsonl.append(run.out / ROLLOUTS_FILE, excerpt)
    return record


def _ask(run: TrainState, step: int, watch: Stopwatch) -> Gathered:
    """This process's questions of the step, answered and rewarded."""
    with unsharded(run.policy.model), distributed.propagate_errors():
        asked = collect(
            run.policy,
            run.loader,
            run.cursor,
            run.settings,
            step=step,
            alpha=run.alpha,
            grade=partial(score, rules=run.rules, step=step),
            watch=watch,
            everyone=distributed.all_gather_list,
        )
    _require_some(asked.encoded, asked.batch, step)
    return asked


def _learn(
    run: TrainState, step: int, asked: Gathered, grids: Sequence[Rewards], learning_rate: float
) -> UpdateStats:
    """All updates of the step, from answers and their advantages."""
    algorithm = run.settings.algorithm
    taught = make_examples(
        asked.rollouts,
        asked.encoded,
        grids,
        algorithm.logprob_condition,
        mask_truncated=algorithm.mask_truncated,
    )
    return update(
        run.policy,
        run.optimizer,
        taught,
        algorithm,
        temperature=run.settings.rollout.temperature,
        learning_rate=learning_rate,
        step=step,
        reference=run.reference,
        filler=run.filler,
    )


def _record(
    run: TrainState,
    step: int,
    asked: Gathered,
    grids: Sequence[Rewards],
    stats: UpdateStats,
    learning_rate: float,
    watch: Stopwatch,
) -> dict[str, Any]:
    """What METRICS.md names, over the questions of all processes."""
    facts = step_facts(
        asked.rollouts,
        grids,
        asked.encoded,
        asked.batch,
        stats,
        seconds=watch.seconds(),
        memory_bytes=peak_memory(run.policy.device),
    )
    record = step_record(step, distributed.all_gather(facts), learning_rate=learning_rate)
    counts = asked.counts(masked=run.settings.algorithm.mask_truncated)
    return record | {"alpha": run.alpha} | counts


def _excerpt(step: int, rollouts: Sequence[Rollout], grids: Sequence[Rewards]) -> list[dict[str, Any]]:
    """Answers to the first questions of the step, whichever processes have them."""
    before = sum(distributed.all_gather(len(rollouts))[: distributed.rank()])
    few = max(0, QUESTIONS_TO_READ - before)
    return distributed.all_gather_list(readable(step, rollouts, grids, questions=few))


def _pool(rewards: Sequence[Rewards]) -> VariancePool:
    """Of the whole batch, whichever processes hold it."""
    return VariancePool.joined(distributed.all_gather(variance_pool(rewards)))


def _require_some(encoded: Encoded, batch: Batch, step: int) -> None:
    """A batch of which no process can use anything is a wrong setting, not bad luck."""
    reasons = [each.reason for each in batch.broken] + [reason for _, reason in encoded.dropped]
    known = distributed.all_gather_list(reasons)
    if not sum(distributed.all_gather(len(encoded.groups))):
        distributed.stop(
            f"step {step}: none of {plural(len(known), 'question')} can be used; the first is {known[0]}"
        )


def _state(run: TrainState) -> dict[str, Any]:
    return {
        "step": run.step,
        "data": state_of(run.cursor, run.loader.stream),
        "alpha": run.alpha,
        "adapters": adapter_weights(run.policy.model),
        "optimizer": run.optimizer.state(),
    }
