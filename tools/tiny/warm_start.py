"""Supervised warm start: imitate good answers until a share of held-out questions is right."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from strive_rl.answers.accuracy import final_answer
from strive_rl.policy import Policy, Sampling, logprobs, sample, with_features
from tools.tiny.compose import compose, make_bank
from tools.tiny.examples import Example

Batches = Callable[[np.random.Generator, "Phase"], list[Example]]

WARM_UP_STEPS = 30


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One part of the warm start, `steps` at most.

    With `all_answers` the answers that name another option count too, for their letter: letters must follow
    from thoughts. `crowded` is the share of examples in which every frame pair shows a needle.
    """

    steps: int
    batch: int
    lr: float
    all_answers: bool
    crowded: float


LETTERS = Phase(steps=200, batch=64, lr=2e-3, all_answers=True, crowded=0.0)
READING = Phase(steps=1500, batch=24, lr=1e-3, all_answers=False, crowded=1.0)
# Stops early: from there reinforcement learning gains; from 500 steps on imitation gains little more.
HARD = Phase(steps=150, batch=24, lr=1e-3, all_answers=True, crowded=1.0)


def composed(policy: Policy, examples: Sequence[Example]) -> Batches:
    """Batches of known questions over new combinations of known frame pairs (compose.py)."""
    bank = make_bank(examples)

    def batch(rng: np.random.Generator, phase: Phase) -> list[Example]:
        chosen = rng.choice(len(examples), phase.batch, replace=False)
        return [compose(policy, bank, examples[i], rng, crowded=phase.crowded) for i in chosen]

    return batch


def warm_start(
    policy: Policy,
    batches: Batches,
    held_out: Sequence[Example],
    *,
    phases: Sequence[Phase],
    until: float,
    every: int,
    seed: int,
) -> float:
    """Train the language model; stops where the accuracy on `held_out` reaches `until`, and returns it."""
    rng = np.random.default_rng(seed)
    parameters = [parameter for _, parameter in policy.trainable()]
    started, reached = time.monotonic(), 0.0
    for phase in phases:
        optimizer = torch.optim.AdamW(parameters, lr=phase.lr, weight_decay=0.01, betas=(0.9, 0.98))
        for step in range(phase.steps):
            for group in optimizer.param_groups:
                group["lr"] = phase.lr * min(1.0, (step + 1) / WARM_UP_STEPS)
            taken = batches(rng, phase)
            loss = imitation_loss(policy, [one if phase.all_answers else right_only(one) for one in taken])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            if (step + 1) % every == 0:
                reached = accuracy(policy, held_out)
                seconds = time.monotonic() - started
                print(f"warm {step + 1} loss {loss:.3f} held-out {reached:.3f} {seconds:.0f} s", flush=True)
                if reached >= until:
                    return reached
    return reached


def imitation_loss(policy: Policy, examples: Sequence[Example]) -> torch.Tensor:
    """Mean negative log-probability of the tokens that count."""
    made = logprobs(policy, [one.prompt for one in examples], [one.targets for one in examples], 1.0)
    rows = [np.pad(one.weights, ((0, 0), (0, made.shape[1])))[:, : made.shape[1]] for one in examples]
    weights = torch.from_numpy(np.concatenate(rows))
    return -(made * weights).sum() / weights.sum()


def right_only(example: Example) -> Example:
    """The example with nothing but its right answer."""
    right = int(example.weights.sum(axis=1).argmax())
    return replace(example, targets=(example.targets[right],), weights=example.weights[right : right + 1])


def accuracy(policy: Policy, examples: Sequence[Example]) -> float:
    """Share of right letters among greedy answers."""
    sampling = Sampling(completions=1, max_new_tokens=24, greedy=True)
    answers = sample(policy, [example.prompt for example in examples], sampling)
    letters = [final_answer(row[0].text) for row in answers]
    return float(np.mean([found == one.letter for found, one in zip(letters, examples, strict=True)]))


def frozen(policy: Policy, examples: Sequence[Example]) -> list[Example]:
    """The examples with the features of the vision tower as it is now."""
    prompts = with_features(policy, [example.prompt for example in examples])
    return [replace(example, prompt=prompt) for example, prompt in zip(examples, prompts, strict=True)]
