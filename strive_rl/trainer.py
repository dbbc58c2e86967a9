"""The order of training, and nothing else: groups → rollouts → advantages → update, step after step.

Departures from a textbook loop: the group is one question with M views of its video; a prompt is computed
once for its G completions, in sampling as in the update; questions that teach nothing cost no backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from strive_data.errors import UsageError
from strive_data.settings import as_dict
from strive_data.shards import ShardSet
from strive_rl import checkpoint, distributed, journal
from strive_rl.advantage import VariancePool, batch_advantages, variance_pool
from strive_rl.collect import collect, next_alpha
from strive_rl.config import PolicySettings, TrainSettings
from strive_rl.data import Batch, Builds, Cursor, Loader, cursor_of, state_of
from strive_rl.excerpt import readable
from strive_rl.facts import step_facts
from strive_rl.filler import make_filler
from strive_rl.footprint import peak_memory
from strive_rl.lesson import Lesson, lessons
from strive_rl.metrics import step_record
from strive_rl.optimizer import Optimizer
from strive_rl.policy import Policy, load_policy, prompt_form
from strive_rl.policy.adapter import adapter_weights, load_adapters
from strive_rl.policy.load import choose_device
from strive_rl.policy.sharding import shard, whole
from strive_rl.reference import Reference, load_reference
from strive_rl.refill import Gathered
from strive_rl.reward import Rules, load_rules, score
from strive_rl.rollout import Encoded, reward_grid
from strive_rl.run_record import (
    SETTINGS_FILE,
    require_folder,
    require_same,
    require_same_prompts,
    run_record,
)
from strive_rl.schedule import learning_rate, require_alpha
from strive_rl.schema import Rewards, Rollout
from strive_rl.signals import Asked, StoppedError
from strive_rl.stopwatch import Stopwatch
from strive_rl.update import UpdateStats, update
from strive_rl.writer import Writer

METRICS_FILE = "metrics.jsonl"
ROLLOUTS_FILE = "rollouts.jsonl"
QUESTIONS_TO_READ = 2

Shards = ShardSet | Sequence[ShardSet]
Observer = Callable[[dict[str, Any], int], None]


@dataclass(kw_only=True, eq=False)
class Run:
    """A run between two steps: `step` steps are done, `cursor` says which questions come next, and
    `alpha` how focused their variants are (None: by no one α)."""

    out: Path
    loader: Loader
    settings: TrainSettings
    policy: Policy
    optimizer: Optimizer
    rules: Rules
    reference: Reference | None = None
    filler: Lesson | None = None
    step: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    alpha: float | None = None


def start(out: Path, *, shards: Shards, model: str, settings: TrainSettings) -> Run:
    """A new run into `out`, on one build or several.

    Raises UsageError where `out` already holds a run, for a bad model, and for builds that cannot be used.
    """
    if (out / SETTINGS_FILE).exists():
        raise UsageError(f"{out} already holds a run: go on with --resume, or give another --out")
    require_folder(out)
    builds = Builds.of(shards)
    record = run_record(as_dict(settings), model=model, shards=builds)
    run = _assemble(out, builds, model, model, settings)
    # No process may look whether there is a run once another has begun to write it.
    distributed.barrier()
    if distributed.is_first():
        out.mkdir(parents=True, exist_ok=True)
        journal.write_json(out / SETTINGS_FILE, record | {"prompt_form": prompt_form(run.policy)})
    return run


def resume(out: Path, *, shards: Shards, model: str, settings: TrainSettings) -> Run:
    """The run of `out` from its newest checkpoint, or from its start where it has none yet.

    Continues exactly: on the CPU, bit for bit. Raises UsageError where `out` holds no run, or one of other
    settings, model or shards, and names the difference.
    """
    if not (out / SETTINGS_FILE).is_file():
        raise UsageError(
            f"{out} holds no run to resume (no {SETTINGS_FILE}); leave out --resume to start one"
        )
    builds = Builds.of(shards)
    record = run_record(as_dict(settings), model=model, shards=builds)
    saved = journal.read_json(out / SETTINGS_FILE)
    require_same(saved, record, out)
    folder = checkpoint.latest(out)
    # A checkpoint's model has its adapters merged; adapters go on from their own weights, on the first model.
    weights = folder if folder and not settings.policy.lora_rank else model
    run = _assemble(out, builds, str(weights), model, settings)
    require_same_prompts(saved, prompt_form(run.policy), out)
    if folder:
        state = checkpoint.load_state(folder)
        load_adapters(run.policy.model, state["adapters"])
        run.optimizer.load(state["optimizer"])
        run.step, run.cursor = state["step"], cursor_of(state["data"], run.loader.stream)
        run.alpha = state["alpha"]
    if run.step > settings.steps:
        raise UsageError(f"{out} has {run.step} steps already, more than the {settings.steps} asked for")
    distributed.barrier()
    if distributed.is_first():
        for name in (METRICS_FILE, ROLLOUTS_FILE):
            journal.cut_back(out / name, run.step)
        journal.write_json(out / SETTINGS_FILE, record | {"prompt_form": prompt_form(run.policy)})
    return run


def fit(run: Run, observe: Observer, asked: Asked | None = None) -> Path:
    """Train up to `settings.steps`; the folder of the finished model, OUT/model.

    Every step appends to metrics.jsonl and rollouts.jsonl and is told to `observe(record, steps)`; of several
    processes the first one does that. Raises StoppedError, behind a checkpoint, once a signal has `asked` a
    process to end. A GPU goes on training while a checkpoint is written; a CPU would only be slowed down.
    """
    folder = run.out / checkpoint.MODEL_FOLDER
    with closing(run.loader), Writer(background=run.policy.device.type == "cuda") as writer:
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
            writer.do(partial(checkpoint.write, folder, run.policy, model))
    return folder


def _save(run: Run, writer: Writer) -> None:
    """A checkpoint of the run, written by the first process; the oldest give way to it."""
    folder = checkpoint.checkpoint_folder(run.out, run.step)
    taken = checkpoint.snapshot(run.policy, _state(run))

    def write() -> None:
        checkpoint.write(folder, run.policy, taken)
        checkpoint.prune(run.out, run.settings.keep)

    if distributed.is_first():
        writer.do(write)


def _signal(asked: Asked | None) -> int | None:
    """The signal that asked any process to end."""
    signals = distributed.gathered(asked.signal if asked else None)
    return next((each for each in signals if each), None)


def train_step(run: Run) -> dict[str, Any]:
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
        journal.append(run.out / METRICS_FILE, [record])
        journal.append(run.out / ROLLOUTS_FILE, excerpt)
    return record


def _ask(run: Run, step: int, watch: Stopwatch) -> Gathered:
    """This process's questions of the step, answered and rewarded."""
    with whole(run.policy.model), distributed.telling():
        asked = collect(
            run.policy,
            run.loader,
            run.cursor,
            run.settings,
            step=step,
            alpha=run.alpha,
            grade=partial(score, rules=run.rules, step=step),
            watch=watch,
            everyone=distributed.everyone,
        )
    _require_some(asked.encoded, asked.batch, step)
    return asked


def _learn(
    run: Run, step: int, asked: Gathered, grids: Sequence[Rewards], learning_rate: float
) -> UpdateStats:
    """All updates of the step, from answers and their advantages."""
    algorithm = run.settings.algorithm
    taught = lessons(
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
    run: Run,
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
    record = step_record(step, distributed.gathered(facts), learning_rate=learning_rate)
    counts = asked.counts(masked=run.settings.algorithm.mask_truncated)
    return record | {"alpha": run.alpha} | counts


def _excerpt(step: int, rollouts: Sequence[Rollout], grids: Sequence[Rewards]) -> list[dict[str, Any]]:
    """Answers to the first questions of the step, whichever processes have them."""
    before = sum(distributed.gathered(len(rollouts))[: distributed.rank()])
    few = max(0, QUESTIONS_TO_READ - before)
    return distributed.everyone(readable(step, rollouts, grids, questions=few))


def _assemble(out: Path, builds: Builds, weights: str, model: str, settings: TrainSettings) -> Run:
    """A run with the policy of `weights`, which began as `model`."""
    _require_own_device(settings.policy)
    rules = load_rules(settings.reward)
    clean = settings.algorithm.logprob_condition == "clean"
    neighbours = settings.policy.frame_pairs == "neighbours"
    data = replace(settings.data, variants=settings.most_variants)
    loader = Loader(
        builds,
        data,
        seed=settings.seed,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        clean=clean,
        neighbours=neighbours,
    )
    require_alpha(loader.alpha, settings)
    policy = load_policy(weights, settings.policy)
    reference = load_reference(model, settings.policy) if settings.algorithm.kl_beta else None
    _lay_out(policy, reference)
    return Run(
        out=out,
        loader=loader,
        settings=settings,
        policy=policy,
        optimizer=Optimizer(policy.trainable(), settings.optim),
        rules=rules,
        reference=reference,
        filler=_filler(policy),
        alpha=loader.alpha,
    )


def _require_own_device(settings: PolicySettings) -> None:
    """Several processes on one CUDA device would wait for each other for ever."""
    device, count = choose_device(settings.device), distributed.world_size()
    if count == 1 or device.type != "cuda":
        return
    if device.index is not None:
        raise UsageError(
            f"policy.device: got {settings.device} with {count} processes; leave it out: each takes a device"
        )
    if distributed.local_rank() >= torch.cuda.device_count():
        raise UsageError(
            f"more processes than CUDA devices ({torch.cuda.device_count()}) on this machine: lower "
            "--nproc-per-node"
        )


def _lay_out(policy: Policy, reference: Reference | None) -> None:
    """Over all processes, once each of them has loaded the models."""
    distributed.barrier()
    for model in (policy.model, reference.model if reference else None):
        if model is not None:
            shard(model, policy.device)


def _filler(policy: Policy) -> Lesson | None:
    if distributed.world_size() == 1:
        return None
    with whole(policy.model):
        return make_filler(policy)


def _pool(rewards: Sequence[Rewards]) -> VariancePool:
    """Of the whole batch, whichever processes hold it."""
    return VariancePool.joined(distributed.gathered(variance_pool(rewards)))


def _require_some(encoded: Encoded, batch: Batch, step: int) -> None:
    """A batch of which no process can use anything is a wrong setting, not bad luck."""
    reasons = [each.reason for each in batch.broken] + [reason for _, reason in encoded.dropped]
    known = distributed.everyone(reasons)
    if not sum(distributed.gathered(len(encoded.groups))):
        distributed.stop(f"step {step}: none of {len(known)} questions can be used; the first is {known[0]}")


def _state(run: Run) -> dict[str, Any]:
    return {
        "step": run.step,
        "data": state_of(run.cursor, run.loader.stream),
        "alpha": run.alpha,
        "adapters": adapter_weights(run.policy.model),
        "optimizer": run.optimizer.state(),
    }
