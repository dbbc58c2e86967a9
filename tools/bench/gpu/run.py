"""One measured configuration: some steps of the trainer, or of plain transformers, in this process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from strive_data.shards.reader import ShardSet
from strive_rl.common.profiling import peak_memory
from strive_rl.config import (
    DataSettings,
    OptimSettings,
    PolicySettings,
    RewardSettings,
    RolloutSettings,
    TrainSettings,
)
from strive_rl.data import Builds, Cursor, Loader
from strive_rl.dry_run.plan import plan
from strive_rl.policy.load import choose_dtype
from strive_rl.schema import Group
from strive_rl.train.state import TrainState, open_run
from strive_rl.train.trainer import train_step
from tools.bench.step.floor import update_products
from tools.bench.step.plain import Plain
from tools.bench.step.task import Task

# Dense bfloat16 products a second as published, by a part of the device's name.
PUBLISHED_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What is measured. `way`: "builtin" or "vllm", the rollout engine of the trainer, or "plain"."""

    model: str
    shards: str
    way: str = "builtin"
    device: str = "cuda"
    lora_rank: int = 0
    graphs: bool = True
    questions: int = 8
    completions: int = 4
    tokens: int = 256
    steps: int = 2
    recompute: bool = True

    def settings(self, max_pixels: int) -> TrainSettings:
        """The settings of a run that trains so."""
        return TrainSettings(
            data=DataSettings(questions_per_step=self.questions, draw="stored"),
            policy=PolicySettings(
                device=self.device,
                max_pixels=max_pixels,
                lora_rank=self.lora_rank,
                cuda_graphs=self.graphs,
                gradient_checkpointing=self.recompute,
            ),
            rollout=RolloutSettings(
                engine="vllm" if self.way == "vllm" else "builtin",
                completions=self.completions,
                max_new_tokens=self.tokens,
            ),
            reward=RewardSettings(function="tools.bench.step.task:reward_parts"),
            optim=OptimSettings(lr=1e-6),
            steps=self.steps + 1,
            save_every=1000,
        )


def estimated_bytes(given: Configuration) -> int:
    """Peak memory by `train --dry-run`."""
    shards = ShardSet.open(Path(given.shards))
    return plan([shards], model=given.model, settings=given.settings(_max_pixels(shards))).need.peak_bytes


def _max_pixels(shards: ShardSet) -> int:
    return int(shards.settings["decode"]["max_pixels"])


def measure(given: Configuration) -> dict[str, Any]:
    """Seconds of a step by phase (means after a first step), tokens, memory, gap."""
    shards = ShardSet.open(Path(given.shards))
    settings = given.settings(_max_pixels(shards))
    if given.way == "plain":
        return _plain(given, shards, settings)
    with tempfile.TemporaryDirectory() as out:
        run = open_run(Path(out) / "run", shards=shards, model=given.model, settings=settings)
        with closing(run.loader):
            records = [train_step(run) for _ in range(settings.steps)]
        return _of_records(given, run, records)


def _of_records(given: Configuration, run: TrainState, records: list[dict[str, Any]]) -> dict[str, Any]:
    later = records[1:]
    rollouts, tokens, read = (
        _mean(each[name] for each in later) for name in ("rollouts", "tokens", "tokens_read")
    )
    prompts = _mean(each["prompts"] for each in later)
    task = Task(
        questions=round(prompts / run.settings.data.variants),
        variants=run.settings.data.variants,
        completions=given.completions,
        tokens=round(tokens / rollouts),
    )
    memory = records[-1]["memory_bytes"]
    learned = [each for each in later if each["update_tokens"]] or later
    share = learned[-1]["informative"] / learned[-1]["questions"]
    flops = share * update_flops(run.policy.model, task, round(read / prompts), lora=given.lora_rank > 0)
    taken = [each["seconds"] for each in records]
    dtype = run.policy.model.dtype
    return _figures(given, dtype, taken, rollouts=rollouts, prompt=read / prompts, tokens=tokens) | {
        "update_flops": flops,
        "flop_use": flops
        / _mean(each["seconds"]["update"] for each in later)
        / device_flops(run.policy.device, dtype),
        "memory_bytes": memory,
        "estimated_bytes": estimated_bytes(given),
        "logprob_gap": learned[-1]["logprob_gap"],
        "logprob_gap_mean": learned[-1]["logprob_gap_mean"],
    }


def update_flops(model: Any, task: Task, prompt: int, *, lora: bool) -> float:
    """Floating-point operations that the update of this package needs: each prompt once. With adapters there
    are no gradients of the frozen weights; the adapters' own products are not counted."""
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        update_products(model, task, prompt, passes=2 if lora else 3)
    return float(counter.get_total_flops())


def device_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second: published for known GPUs, elsewhere those of a large matrix product."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        known = [flops for part, flops in PUBLISHED_FLOPS.items() if part in name]
        if known:
            return known[0]
    side = 8192 if device.type == "cuda" else 1024
    one = torch.ones(side, side, dtype=dtype, device=device)
    one @ one
    started = time.perf_counter()
    float((one @ one)[0, 0])
    return 2 * side**3 / (time.perf_counter() - started)


def _plain(given: Configuration, shards: ShardSet, settings: TrainSettings) -> dict[str, Any]:
    device = torch.device(given.device)
    groups = list(_groups(shards, settings))
    dtype = choose_dtype("auto", device)
    way = Plain(
        Path(given.model),
        groups,
        completions=given.completions,
        tokens=given.tokens,
        device=given.device,
        dtype=str(dtype).removeprefix("torch."),
        lora_rank=given.lora_rank,
        questions_per_pass=1,
        recompute=given.recompute,
    )
    taken: list[dict[str, float]] = []
    for _ in range(settings.steps):
        way.step()
        taken.append(way.seconds)
    rollouts = sum(len(group.views) for group in groups) * given.completions
    tokens = rollouts * given.tokens
    found = _figures(given, dtype, taken, rollouts=rollouts, prompt=way.prompt_tokens, tokens=tokens)
    return found | {"memory_bytes": peak_memory(device)}


def _figures(
    given: Configuration,
    dtype: torch.dtype,
    taken: list[dict[str, float]],
    *,
    rollouts: float,
    prompt: float,
    tokens: float,
) -> dict[str, Any]:
    """Figures of every way, by the seconds of each step (the first does not count); `tokens` are sampled."""
    seconds = {name: _mean(each[name] for each in taken[1:]) for name in taken[1]}
    return {
        **asdict(given),
        "dtype": str(dtype).removeprefix("torch."),
        "prompt_tokens": round(prompt),
        "completion_tokens": round(tokens / rollouts),
        "rollouts": rollouts,
        "seconds": seconds,
        "first_step_seconds": taken[0]["total"],
        "seconds_per_rollout": seconds["total"] / rollouts,
        "sampled_tokens_per_second": tokens / seconds["rollout"],
    }


def _groups(shards: ShardSet, settings: TrainSettings) -> Iterator[Group]:
    """The questions of the first step, as the loader gives them."""
    with closing(Loader(Builds([shards]), settings.data, seed=settings.seed)) as loader:
        yield from loader.take(Cursor(), size=settings.data.questions_per_step)[0]


def _mean(values: Any) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
