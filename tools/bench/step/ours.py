"""A step of this package: encode, sample, reward, advantage, update, in the order of `strive_rl.train`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from strive_rl.algorithm.reward import Rules
from strive_rl.common.profiling import Stopwatch
from strive_rl.config import AlgorithmSettings, OptimSettings, PolicySettings
from strive_rl.policy import Sampling, load_policy
from strive_rl.rollout.groups import encode_groups, reward_groups, sample_groups
from strive_rl.train.optimizer import Optimizer
from strive_rl.train.trainer import with_advantages
from strive_rl.train.update import learned_part, update
from tools.bench.step.task import Task, reward_parts

REWARD = Rules(weights={"accuracy": 1.0, "format": 0.0}, function=reward_parts)


class Ours:
    """A policy and its optimizer; `prompt_tokens` is known after a step."""

    def __init__(self, folder: Path, task: Task, groups_per_pass: int = 1) -> None:
        chosen = PolicySettings(
            device="cpu", dtype="float32", max_pixels=task.side**2, groups_per_pass=groups_per_pass
        )
        # No completion ends early: every way samples as many tokens.
        self.policy = replace(load_policy(str(folder), chosen), end_ids=())
        self.optimizer = Optimizer(self.policy.trainable(), OptimSettings())
        self.algorithm = AlgorithmSettings()
        self.groups = task.groups()
        self.sampling = Sampling(completions=task.completions, max_new_tokens=task.tokens)
        self.prompt_tokens = 0
        self.seconds: dict[str, float] = {}
        self.steps = 0

    def step(self) -> None:
        """One step; `seconds` then has its phases."""
        watch = Stopwatch()
        encoded, skipped = encode_groups(self.policy, self.groups)
        if skipped:
            raise ValueError(f"a prompt was dropped: {skipped[0].reason}")
        self.prompt_tokens = len(encoded[0].prompts[0].ids)
        watch.lap("encode")
        sampled = sample_groups(self.policy, encoded, self.sampling, seed=self.steps)
        watch.lap("rollout")
        groups = with_advantages(reward_groups(sampled, REWARD)[0], self.algorithm)
        self.steps += 1
        self.stats = update(
            self.policy,
            self.optimizer,
            learned_part(groups, self.algorithm),
            self.algorithm,
            temperature=self.sampling.temperature,
            learning_rate=1e-6,
            step=self.steps,
        )
        watch.lap("update")
        self.seconds = watch.seconds()
