"""A run of training, before its first step: begun anew, or taken up from its newest checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from strive_data.common.settings import as_dict
from strive_data.common.text import plural
from strive_data.errors import UsageError
from strive_data.shards.reader import ShardSet
from strive_rl.algorithm.reward import Rules, load_rules
from strive_rl.algorithm.schedule import require_alpha
from strive_rl.common import distributed, jsonl
from strive_rl.common.run_settings import (
    SETTINGS_FILE,
    require_folder,
    require_same,
    require_same_prompts,
    run_record,
)
from strive_rl.config import PolicySettings, TrainSettings
from strive_rl.data import Builds, Cursor, Loader, cursor_of
from strive_rl.policy import Policy, load_policy, prompt_form
from strive_rl.policy.load import choose_device
from strive_rl.policy.lora import load_adapters
from strive_rl.policy.sharding import shard, unsharded
from strive_rl.train import checkpoint
from strive_rl.train.examples import TrainExample, make_dummy_example
from strive_rl.train.optimizer import Optimizer
from strive_rl.train.reference import Reference, load_reference

METRICS_FILE = "metrics.jsonl"
ROLLOUTS_FILE = "rollouts.jsonl"
WORK = ("*.jsonl", "results.json", f"{checkpoint.PREFIX}*", checkpoint.MODEL_FOLDER)

Shards = ShardSet | Sequence[ShardSet]


@dataclass(kw_only=True, eq=False)
class TrainState:
    """A run between two steps: `step` steps are done, `cursor` says which questions come next, and
    `alpha` how focused their variants are (None: by no one α)."""

    out: Path
    loader: Loader
    settings: TrainSettings
    policy: Policy
    optimizer: Optimizer
    rules: Rules
    reference: Reference | None = None
    filler: TrainExample | None = None
    step: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    alpha: float | None = None


def start(out: Path, *, shards: Shards, model: str, settings: TrainSettings) -> TrainState:
    """A new run into `out`, on one build or several; one that ended before its first step begins anew.

    Raises UsageError where `out` already holds a run, for a bad model, and for builds that cannot be used.
    """
    if (out / SETTINGS_FILE).exists() and holds_work(out):
        raise UsageError(f"{out} already holds a run: go on with --resume, or give another --out")
    require_folder(out)
    builds = Builds.of(shards)
    record = run_record(as_dict(settings), model=model, shards=builds)
    run = _assemble(out, builds, model, model, settings)
    # No process may look whether there is a run once another has begun to write it.
    distributed.barrier()
    if distributed.is_first():
        out.mkdir(parents=True, exist_ok=True)
        jsonl.write_json(out / SETTINGS_FILE, record | {"prompt_form": prompt_form(run.policy)})
    return run


def resume(out: Path, *, shards: Shards, model: str, settings: TrainSettings) -> TrainState:
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
    saved = jsonl.read_json(out / SETTINGS_FILE)
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
        raise UsageError(
            f"{out} has {plural(run.step, 'step')} already, more than the {settings.steps} asked for"
        )
    distributed.barrier()
    if distributed.is_first():
        for name in (METRICS_FILE, ROLLOUTS_FILE):
            jsonl.cut_back(out / name, run.step)
        jsonl.write_json(out / SETTINGS_FILE, record | {"prompt_form": prompt_form(run.policy)})
    return run


def holds_work(out: Path) -> bool:
    """Whether anything came of the settings that lie there: steps, weights, answers of an evaluation."""
    return any(next(out.glob(name), None) for name in WORK)


def _assemble(out: Path, builds: Builds, weights: str, model: str, settings: TrainSettings) -> TrainState:
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
    return TrainState(
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


def _filler(policy: Policy) -> TrainExample | None:
    if distributed.world_size() == 1:
        return None
    with unsharded(policy.model):
        return make_dummy_example(policy)
