"""Groups through encoding, sampling and reward: the part of a step that training and evaluation share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from strive_data.errors import SampleError, StriveError
from strive_data.schema import Question
from strive_rl.algorithm.advantage import has_zero_advantage
from strive_rl.algorithm.reward import Rules, reward_of, rewards_of
from strive_rl.policy import Patches, Policy, RngKey, Sampling, encode, with_features
from strive_rl.rollout.engine import RolloutEngine
from strive_rl.schema import Completion, Group, Prompt, Reward, SkippedQuestion

RewardFunction = Callable[[str, Question], Reward]


def encode_groups(policy: Policy, groups: Sequence[Group]) -> tuple[list[Group], list[SkippedQuestion]]:
    """The groups with their prompts and vision features, and the questions whose prompt cannot be made.

    Groups that share a view (the same object) share its pixels and features.
    """
    encoded, skipped = [], []
    seen: Patches = {}
    for group in groups:
        try:
            variants = encode(policy, group, seen)
            clean = encode(policy, replace(group, views=(group.clean,))) if group.clean else [None]
        except SampleError as error:
            skipped.append(SkippedQuestion(sample_id=group.question.sample_id, reason=error.message))
        else:
            encoded.append(replace(group, prompts=tuple(variants), clean_prompt=clean[0]))
    return _with_features(policy, encoded), skipped


def _with_features(policy: Policy, groups: Sequence[Group]) -> list[Group]:
    prompts = [prompt for group in groups for prompt in group.prompts]
    clean_prompts = [group.clean_prompt for group in groups if group.clean_prompt]
    done = iter(with_features(policy, prompts + clean_prompts))
    variants = [tuple(islice(done, len(group.prompts))) for group in groups]
    clean = [next(done) if group.clean_prompt else None for group in groups]
    return [
        replace(group, prompts=each, clean_prompt=uniform)
        for group, each, uniform in zip(groups, variants, clean, strict=True)
    ]


def sample_groups(
    engine: RolloutEngine, groups: Sequence[Group], sampling: Sampling, seed: int = 0
) -> list[Group]:
    """The groups with G completions of each prompt.

    A completion is a function of the seed, the group's `ref` and the number of its variant, whatever else is
    in the batch: an exact resume needs no saved random state.
    """
    prompts = [prompt for group in groups for prompt in group.prompts]
    keys = [] if sampling.greedy else [key for group in groups for key in rng_keys(group, seed)]
    sampled = zip(prompts, engine.sample(prompts, sampling, keys), strict=True)
    rows = iter([with_opening(prompt, row) for prompt, row in sampled])
    return [replace(group, completions=tuple(islice(rows, len(group.prompts)))) for group in groups]


def with_opening(prompt: Prompt, completions: Sequence[Completion]) -> tuple[Completion, ...]:
    """Completions whose text begins with the thought that the chat template opens in the prompt."""
    if not prompt.opening:
        return tuple(completions)
    return tuple(replace(each, text=prompt.opening + each.text) for each in completions)


def rng_keys(group: Group, seed: int) -> list[RngKey]:
    """The keys of the random numbers of each variant's completions."""
    if group.ref is None:
        raise ValueError(f"question {group.question.sample_id} has no ref to key its random numbers")
    ref = group.ref
    return [
        RngKey(seed=seed, epoch=ref.epoch, position=ref.position, variant=m) for m in range(len(group.views))
    ]


def reward_groups(groups: Sequence[Group], reward: RewardFunction = reward_of) -> list[Group]:
    """The groups with the reward of each completion."""
    return [
        replace(
            group,
            rewards=tuple(
                tuple(reward(completion.text, group.question) for completion in row)
                for row in group.completions
            ),
        )
        for group in groups
    ]


def reward_or_skip(
    groups: Sequence[Group], rules: Rules, step: int
) -> tuple[list[Group], list[SkippedQuestion], dict[str, int]]:
    """The groups with their rewards by `rules`, the questions whose reward failed, and how often the user's
    function was called (empty without one).

    Raises StriveError for a reward that fails, unless the rules skip its question.
    """
    asked = [([[each.text for each in row] for row in group.completions], group.question) for group in groups]
    made = rewards_of(asked, rules, step=step)
    rewarded, skipped = [], []
    for group, grid in zip(groups, made.grids, strict=True):
        if not isinstance(grid, StriveError):
            rewarded.append(replace(group, rewards=grid))
        elif rules.skip:
            skipped.append(SkippedQuestion(sample_id=group.question.sample_id, reason=str(grid)))
        else:
            raise grid
    counts = {"made": made.calls, "retried": made.retried, "failed": made.failed}
    return rewarded, skipped, counts if rules.function else {}


def informative(group: Group) -> bool:
    """Whether the completions differ in accuracy; other questions have zero advantage and are not learned.

    Accuracy decides, never the shaped total: a difference in format alone would teach format alone.
    """
    return not has_zero_advantage(group.reward_grid("accuracy"))
