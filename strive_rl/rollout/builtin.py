"""Groups → rollouts: M×G completions of each question, and their rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from strive_data.errors import SampleError
from strive_data.schema import Question
from strive_rl.algorithm.reward import score
from strive_rl.policy import Patches, Policy, Prompt, RngKey, Sampling, encode, sample, with_features
from strive_rl.schema import Completion, Group, Reward, Rewards, Rollout, SampleRef

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
    """Encode all groups and read their videos; a group that cannot be encoded is dropped and named.

    Groups that share a view (the same object) share its pixels and features.
    """
    seen: Patches = {}
    kept: list[Group] = []
    prompts: list[Prompt] = []
    clean: list[Prompt] = []
    dropped: list[tuple[str, str]] = []
    for group in groups:
        try:
            made = encode(policy, group, seen)
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
    seed: int = 0,
    *,
    first_variant: int = 0,
    grade: Grade = score,
) -> list[Rollout]:
    """Sample G completions of each prompt and reward them by `grade`.

    What is sampled follows from the seed, the pick of the group and the number of the variant, whatever else
    is in the batch: nothing of it needs to be saved to resume exactly. `first_variant` is the number of a
    group's first view, where earlier ones were sampled before.
    """
    flat = [prompt for prompts in encoded.prompts for prompt in prompts]
    luck = [] if sampling.greedy else chances(encoded.groups, seed, first_variant)
    sampled = zip(flat, sample(policy, flat, sampling, luck), strict=True)
    answers = _by_group([with_opening(prompt, row) for prompt, row in sampled], encoded.groups)
    return [rewarded(group, grid, grade) for group, grid in zip(encoded.groups, answers, strict=True)]


def with_opening(prompt: Prompt, completions: Sequence[Completion]) -> tuple[Completion, ...]:
    """Completions whose text begins with what the chat template wrote of it at the end of the prompt."""
    return tuple(replace(each, text=prompt.opening + each.text) for each in completions)


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


def chances(groups: Sequence[Group], seed: int, first_variant: int = 0) -> list[RngKey]:
    """What the completions of each view are sampled by, group after group."""
    return [
        RngKey(seed=seed, epoch=pick.epoch, position=pick.position, variant=first_variant + m)
        for group, pick in zip(groups, map(_picked, groups), strict=True)
        for m in range(len(group.views))
    ]


def _picked(group: Group) -> SampleRef:
    if group.pick is None:
        raise ValueError(f"question {group.question.sample_id} has no pick to sample by")
    return group.pick


def _by_group(flat: Sequence[T], groups: Sequence[Group]) -> tuple[tuple[T, ...], ...]:
    items = iter(flat)
    return tuple(tuple(next(items) for _ in group.views) for group in groups)
