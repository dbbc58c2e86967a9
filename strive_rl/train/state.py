"""The state of a training run between two steps: a new run, or one resumed from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from strive_data.common.console import echo
from strive_data.common.settings import as_dict
from strive_data.common.text import plural
from strive_data.errors import UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.algorithm.reward import Rules, load_rules
from strive_rl.common import distributed, jsonl, run_folder
from strive_rl.common.model_folder import STATE_FILE, has_manifest, load_state, reading
from strive_rl.common.run_settings import (
    METRICS_FILE,
    ROLLOUTS_FILE,
    SETTINGS_FILE,
    require_folder,
    require_resumable,
    require_run,
    require_same_prompts,
    run_record,
)
from strive_rl.config import PolicySettings, TrainSettings
from strive_rl.data import Builds, Cursor, Loader, cursor_of
from strive_rl.eval.frames import require_heldout
from strive_rl.policy import Policy, load_policy, prompt_form
from strive_rl.policy.load import choose_device
from strive_rl.policy.lora import load_adapters
from strive_rl.policy.sharding import shard
from strive_rl.rollout.groups import RolloutEngine, load_engine, with_prompts
from strive_rl.schema import Group
from strive_rl.train.optimizer import Optimizer
from strive_rl.train.update import load_reference, make_dummy
from strive_rl.train.validation import Best, require_readable

Shards = ShardSet | Sequence[ShardSet]


@dataclass(kw_only=True, eq=False)
class TrainState:
    """A run between two steps: `step` steps are done, `cursor` points to the next questions. `engine` samples
    (None: the policy itself). `best` is the highest accuracy on `heldout` so far."""

    out: Path
    loader: Loader
    settings: TrainSettings
    policy: Policy
    optimizer: Optimizer
    rules: Rules
    engine: RolloutEngine | None = None
    reference: Any | None = None
    dummy: Group | None = None
    heldout: ShardSet | None = None
    best: Best | None = None
    step: int = 0
    cursor: Cursor = field(default_factory=Cursor)


def open_run(
    out: Path,
    *,
    shards: Shards,
    model: str,
    settings: TrainSettings,
    heldout: ShardSet | None = None,
    resume: bool = False,
    resume_from: Path | None = None,
) -> TrainState:
    """A new run into `out`, which replaces one that failed before its first step; with `resume` the run of
    `out` from its newest checkpoint or that of `resume_from`, or from its start without one.

    Resumes exactly: on the CPU, bit for bit. Raises UsageError for a bad model, for builds that cannot be
    used, where `out` holds a run already, or with `resume` none, or one of other settings, model or shards,
    and names the difference; DamagedError where the checkpoint is damaged.
    """
    require_run(out, resume=resume)
    require_folder(out)
    builds, saved, folder = Builds(shards), None, None
    if resume:
        saved = require_resumable(out, settings, model=model, shards=builds, heldout=heldout)
        folder = _choose_checkpoint(out, resume_from)
    record = run_record(as_dict(settings), model=model, shards=builds, heldout=heldout)
    # A checkpoint's model has its adapters merged: adapters resume on the model that the run started from.
    weights = folder if folder and not settings.policy.lora_rank else model
    run = _assemble(out, builds, str(weights), model, settings, heldout)
    form = prompt_form(run.policy)
    if saved:
        require_same_prompts(saved, form, out)
    if folder:
        _load_checkpoint(run, folder)
    if run.step > settings.steps:
        raise UsageError(f"{out} has {plural(run.step, 'step')} already, more than steps={settings.steps}")
    # No process may check for a run after another one has written it.
    distributed.barrier()
    if distributed.is_first():
        out.mkdir(parents=True, exist_ok=True)
        run_folder.clean(out)
        if resume:
            _rewind(run)
        jsonl.write_json(out / SETTINGS_FILE, record | {"prompt_form": form})
    return run


def _choose_checkpoint(out: Path, wanted: Path | None) -> Path | None:
    """The same checkpoint on every process; the first one checks its files and removes leftovers."""
    chosen: Path | None = None
    with distributed.propagate_errors():
        if distributed.is_first():
            run_folder.clean(out)
            chosen = run_folder.choose(out, wanted)
            if chosen and not has_manifest(chosen):
                _warn(
                    f"{chosen} has no manifest: it was removed, or an earlier version wrote none; its files "
                    "cannot be checked"
                )
    return distributed.all_gather(chosen)[0]


def _load_checkpoint(run: TrainState, folder: Path) -> None:
    state = load_state(folder)
    with reading(folder / STATE_FILE):
        load_adapters(run.policy.model, state["adapters"])
        run.optimizer.load(state["optimizer"])
        run.step, run.cursor = state["step"], cursor_of(state["data"], run.loader.stream)
        run.best = Best(**state["best"]) if "best" in state else None


def _rewind(run: TrainState) -> None:
    """Make the folder that of a run after its steps so far, and say what is not as it should be."""
    out, step = run.out, run.step
    for moved in run_folder.set_aside_after(out, step):
        _warn(f"the run goes on before this checkpoint, which is kept under another name: {moved}")
    for name in (METRICS_FILE, ROLLOUTS_FILE):
        jsonl.cut_back(out / name, step)
    recorded = {record["step"] for record in jsonl.scan(out / METRICS_FILE, ["step"])}
    missing = [number for number in range(1, step + 1) if number not in recorded]
    if missing:
        which = f"step {missing[0]}" if len(missing) == 1 else f"{len(missing)} steps from {missing[0]} on"
        _warn(f"{out / METRICS_FILE} was cut or lost: it lacks {which}, of {step}; curves and sums do too")
    best = run_folder.checkpoint_folder(out, run.best.step) if run.best else None
    if best and not best.is_dir():
        _warn(f"{best}, the best checkpoint so far, is gone; the next one must exceed its accuracy")
        best = None
    run_folder.link_best(out, best)


def _warn(text: str) -> None:
    echo(f"warning: {text}", err=True)


def _assemble(
    out: Path, builds: Builds, weights: str, model: str, settings: TrainSettings, heldout: ShardSet | None
) -> TrainState:
    """A run with the policy of `weights`; `model` is the one that the run started from."""
    _require_own_device(settings.policy)
    rules = load_rules(settings.reward, out / f"judge-{distributed.rank()}.ndjson")
    loader = Loader(
        builds,
        settings.data,
        seed=settings.seed,
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        neighbours=settings.policy.frame_pairs == "neighbours",
    )
    require_heldout(heldout, builds, settings)
    policy = load_policy(weights, settings.policy, to_shard=True)
    loader.prepare = partial(with_prompts, policy)
    require_readable(heldout, policy, settings)
    reference = load_reference(model, policy) if settings.algorithm.kl_beta else None
    distributed.barrier()  # All processes have loaded the models that they share from here on.
    shard(policy.model, policy.device)
    if reference is not None and reference is not policy.model:
        shard(reference, policy.device)
    return TrainState(
        out=out,
        loader=loader,
        settings=settings,
        policy=policy,
        engine=load_engine(policy, settings.rollout, settings.rollout.max_new_tokens),
        optimizer=Optimizer(policy.trainable(), settings.optim),
        rules=rules,
        reference=reference,
        dummy=make_dummy(policy) if distributed.world_size() > 1 else None,
        heldout=heldout,
    )


def _require_own_device(settings: PolicySettings) -> None:
    """Raise UsageError where processes share a CUDA device: they would wait for each other for ever."""
    device, count = choose_device(settings.device), distributed.world_size()
    if count == 1 or device.type != "cuda":
        return
    if device.index is not None:
        raise UsageError(
            f"policy.device: got {settings.device} with {count} processes, but each needs a device of its "
            "own: leave it out, and each takes the next one"
        )
    if distributed.local_rank() >= torch.cuda.device_count():
        raise UsageError(
            f"more processes than CUDA devices ({torch.cuda.device_count()}) on this machine: lower "
            "--nproc-per-node"
        )
