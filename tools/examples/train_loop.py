"""STRIVE in one file: train a policy with the parts of this library, without its trainer.

    python -m tools.examples.train_loop --shards demo/train.shards --model demo --out trained --steps 20

Each step takes Q questions with M frame variants each, samples G completions of each variant, rewards them,
normalises the rewards jointly over the M×G grid of a question, and takes one optimizer step on the
policy-gradient loss. Copy it and change what you want to try: the reward, the advantage, the loss.

What `strive-rl train` does beside this: several processes, checkpoints and exact resuming, KL to a reference,
several updates a step, dynamic sampling, questions whose prompt is too long, all metrics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from strive_data.schema import Question
from strive_data.shards.reader import ShardSet
from strive_rl.algorithm.advantage import advantages, has_zero_advantage
from strive_rl.algorithm.loss import TokenBatch, policy_loss
from strive_rl.algorithm.reward import reward_of
from strive_rl.config import AlgorithmSettings, DataSettings, OptimSettings, PolicySettings
from strive_rl.data import Builds, Cursor, Loader
from strive_rl.policy import Policy, Sampling, load_policy, logprobs
from strive_rl.policy.logprobs import mask
from strive_rl.rollout.groups import encode_groups, sample_groups
from strive_rl.schema import Group, Reward
from strive_rl.train import checkpoint
from strive_rl.train.optimizer import Optimizer


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a run of this loop depends on, beside the shards and the model."""

    seed: int = 0
    questions_per_pass: int = 8
    data: DataSettings = field(default_factory=lambda: DataSettings(questions_per_step=8, variants=2))
    policy: PolicySettings = field(default_factory=PolicySettings)
    sampling: Sampling = field(default_factory=lambda: Sampling(completions=4, max_new_tokens=64))
    algorithm: AlgorithmSettings = field(default_factory=AlgorithmSettings)
    optim: OptimSettings = field(default_factory=lambda: OptimSettings(lr=1e-4))


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Numbers of one step; `loss` and `grad_norm` are NaN where no question has an advantage."""

    reward: float
    informative: int
    loss: float
    grad_norm: float


def train(shards: str, model: str, steps: int, settings: Settings) -> Iterator[tuple[Policy, StepResult]]:
    """The policy after each step, the same object, and the numbers of the step."""
    policy = load_policy(model, settings.policy)
    optimizer = Optimizer(policy.trainable(), settings.optim)
    cursor = Cursor()
    with closing(Loader(Builds(ShardSet.open(shards)), settings.data, seed=settings.seed)) as loader:
        for _ in range(steps):
            groups, _, cursor = loader.take(cursor)
            groups = roll_out(policy, groups, settings)
            groups = [with_advantages(group, settings.algorithm) for group in groups]
            yield policy, learn(policy, optimizer, groups, settings)


def roll_out(policy: Policy, groups: Sequence[Group], settings: Settings) -> list[Group]:
    """Prompts, M×G completions and their rewards."""
    encoded, _ = encode_groups(policy, groups)
    sampled = sample_groups(policy, encoded, settings.sampling, settings.seed)
    return [replace(group, rewards=rewards(group)) for group in sampled]


def rewards(group: Group) -> tuple[tuple[Reward, ...], ...]:
    """Those of all M×G completions."""
    return tuple(tuple(reward(each.text, group.question) for each in row) for row in group.completions)


def reward(text: str, question: Question) -> Reward:
    """0.9·accuracy + 0.1·format; put your own here."""
    return reward_of(text, question)


def with_advantages(group: Group, settings: AlgorithmSettings) -> Group:
    """A_mg = (R_mg − mean over M·G)/(std over M·G + 1e-4), STRIVE's joint normalisation [paper]."""
    return replace(group, advantages=advantages(group.reward_grid(), settings))


def learn(policy: Policy, optimizer: Optimizer, groups: Sequence[Group], settings: Settings) -> StepResult:
    """One optimizer step over the questions whose completions differ in accuracy.

    The loss of a pass is its share of the loss of the whole step, so the gradients of passes add up.
    """
    learned = [group for group in groups if not has_zero_advantage(group.reward_grid("accuracy"))]
    count = {
        "completions": sum(group.advantages.size for group in learned),
        "tokens": sum(len(each.ids) for group in learned for row in group.completions for each in row),
    }
    loss, norm, size = float("nan"), float("nan"), settings.questions_per_pass
    if learned:
        losses = []
        for start in range(0, len(learned), size):
            batch = token_batch(policy, learned[start : start + size], settings.sampling.temperature)
            part, _ = policy_loss(batch, settings.algorithm, **count)
            torch.autograd.backward(part)
            optimizer.add_gradients()
            losses.append(float(part.detach()))
        loss, norm = sum(losses), optimizer.clip()
        optimizer.step(settings.optim.lr)
    return StepResult(
        reward=float(np.mean([group.reward_grid().mean() for group in groups])),
        informative=len(learned),
        loss=loss,
        grad_norm=norm,
    )


def token_batch(policy: Policy, groups: Sequence[Group], temperature: float) -> TokenBatch:
    """Log-probabilities [B, L] of all completions, each under the variant that it was sampled under.

    With one update a step the policy itself is the old policy: the ratio is 1, its gradient is not 0.
    """
    prompts = [prompt for group in groups for prompt in group.prompts]
    rows = [row for group in groups for row in group.completions]
    new = logprobs(policy, prompts, rows, temperature)
    grids = np.concatenate([group.advantages.ravel() for group in groups])
    return TokenBatch(
        logprobs=new,
        old_logprobs=new.detach(),
        mask=mask([completion for row in rows for completion in row]).to(policy.device),
        advantages=torch.from_numpy(grids).to(policy.device, torch.float32),
    )


def main(
    shards: Annotated[
        str, typer.Option(help="Folder of a finished build (another M than its own needs shard.frames=all).")
    ],
    model: str = "demo",
    out: Path | None = None,
    steps: int = 20,
    questions: Annotated[int, typer.Option(help="Q, questions a step.")] = 8,
    variants: Annotated[int, typer.Option(help="M, frame variants of each question.")] = 2,
    completions: Annotated[int, typer.Option(help="G, completions of each variant.")] = 4,
    max_new_tokens: int = 64,
    lr: float = 1e-4,
    seed: int = 0,
) -> None:
    """Train, print each step, and write the model into OUT."""
    settings = Settings(
        seed=seed,
        data=DataSettings(questions_per_step=questions, variants=variants),
        sampling=Sampling(completions=completions, max_new_tokens=max_new_tokens),
        optim=OptimSettings(lr=lr),
    )
    for number, (policy, result) in enumerate(train(shards, model, steps, settings), start=1):
        learned = f"loss {result.loss:.4f}  gradient {result.grad_norm:.3f}"
        if not result.informative:
            learned = "no question to learn from: of none do the completions differ in accuracy"
        print(
            f"step {number}/{steps}  reward {result.reward:.3f}  informative {result.informative}/"
            f"{questions}  {learned}"
        )
        if out and number == steps:
            checkpoint.write(out, policy, checkpoint.snapshot(policy))


if __name__ == "__main__":
    typer.run(main)
