"""Groups → rollouts: M×G completions of each question, and their rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch

from strive_data.errors import SampleError
from strive_data.schema import Question
from strive_rl.policy import Policy, Prompt, Sampling, encode, sample, with_features
from strive_rl.reward import score
from strive_rl.schema import Completion, Group, Reward, Rewards, Rollout

T = TypeVar("T")
Grade = Callable[[str, Question], Reward]


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """Groups with their prompts [group][M], those of their clean views [group] where they have them, and what
    could not be encoded: (sample id, reason)."""

    groups: tuple[Group, ...]
    prompts: tuple[tuple[Prompt, ...], ...]
    dropped: tuple[tuple[str, str], ...] = ()
    clean: tuple[Prompt, ...] = ()


def encode_groups(policy: Policy, groups: Sequence[Group]) -> Encoded:
    """Encode all groups and read their videos; a group that cannot be encoded is dropped and named."""
    kept: list[Group] = []
    prompts: list[Prompt] = []
    clean: list[Prompt] = []
    dropped: list[tuple[str, str]] = []
    for group in groups:
        try:
            made = encode(policy, group)
            beside = encode(policy, replace(group, views=(group.clean,))) if group.clean else []
        except SampleError as error:
            dropped.append((group.question.sample_id, error.message))
        else:
            kept.append(group)
            prompts += made
            clean += beside
    read = with_features(policy, prompts + clean)
    return Encoded(
        groups=tuple(kept),
        prompts=_by_group(read[: len(prompts)], kept),
        dropped=tuple(dropped),
        clean=tuple(read[len(prompts) :]),
    )


def roll_out(
    policy: Policy,
    encoded: Encoded,
    sampling: Sampling,
    generator: torch.Generator | None = None,
    *,
    grade: Grade = score,
) -> list[Rollout]:
    """Sample G completions of each prompt and reward them by `grade`."""
    flat = [prompt for prompts in encoded.prompts for prompt in prompts]
    answers = _by_group([tuple(each) for each in sample(policy, flat, sampling, generator)], encoded.groups)
    return [rewarded(group, grid, grade) for group, grid in zip(encoded.groups, answers, strict=True)]


def rewarded(group: Group, completions: tuple[tuple[Completion, ...], ...], grade: Grade = score) -> Rollout:
    """The rollout of a group with these completions [M][G]."""
    rewards: tuple[tuple[Reward, ...], ...] = tuple(
        tuple(grade(completion.text, group.question) for completion in row) for row in completions
    )
    return Rollout(group=group, completions=completions, rewards=rewards)


def reward_grid(rollout: Rollout, part: str = "total") -> Rewards:
    """The total rewards, or one part of them by name, float64 [M, G]."""
    return np.array(
        [[(reward.parts | {"total": reward.total})[part] for reward in row] for row in rollout.rewards],
        dtype=np.float64,
    )


def step_generator(device: torch.device, seed: int, step: int) -> torch.Generator:
    """Generator of one step, keyed by (seed, step): nothing of it needs to be saved to resume exactly."""
    (bits,) = np.random.Philox(key=np.array([seed, step], dtype=np.uint64)).random_raw(1)
    return torch.Generator(device).manual_seed(int(bits >> np.uint64(1)))


def _by_group(flat: Sequence[T], groups: Sequence[Group]) -> tuple[tuple[T, ...], ...]:
    items = iter(flat)
    return tuple(tuple(next(items) for _ in group.views) for group in groups)
