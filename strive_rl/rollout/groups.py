"""Groups through encoding, sampling and reward: the part of a step that training and evaluation share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import islice

import numpy as np
import numpy.typing as npt

from strive_data.errors import SampleError, StriveError
from strive_rl.algorithm.advantage import differs
from strive_rl.algorithm.reward import PUBLISHED, Rules, rewards_of
from strive_rl.config import AlgorithmSettings
from strive_rl.policy import Patches, Policy, RngKey, Sampling, encode, sample, with_features
from strive_rl.rollout.engine import RolloutEngine
from strive_rl.schema import Group, SkippedQuestion


def with_prompts(policy: Policy, group: Group) -> Group:
    """The group with its prompts, for the threads of a loader; without them where they cannot be made, which
    `encode_groups` then reports. Pixels for a GPU are pinned, so that their copy waits for nothing."""
    try:
        prompts = encode(policy, group)
    except SampleError:
        return group
    if policy.device.type == "cuda":
        prompts = [replace(prompt, pixels=prompt.pixels.pin_memory()) for prompt in prompts]
    return replace(group, prompts=tuple(prompts))


def encode_groups(policy: Policy, groups: Sequence[Group]) -> tuple[list[Group], list[SkippedQuestion]]:
    """The groups with their prompts, made here where they have none, and vision features, and the questions
    whose prompt cannot be made. A view (the same object) that several groups share is read once."""
    encoded, skipped = [], []
    seen: Patches = {}
    for group in groups:
        try:
            prompts = group.prompts or encode(policy, group, seen)
        except SampleError as error:
            skipped.append(SkippedQuestion(sample_id=group.question.sample_id, reason=error.message))
        else:
            encoded.append(replace(group, prompts=tuple(prompts)))
    done = iter(with_features(policy, [prompt for group in encoded for prompt in group.prompts]))
    return [replace(group, prompts=tuple(islice(done, len(group.prompts)))) for group in encoded], skipped


def sample_groups(
    policy: Policy,
    groups: Sequence[Group],
    sampling: Sampling,
    seed: int = 0,
    engine: RolloutEngine | None = None,
) -> list[Group]:
    """The groups with G completions of each prompt, by an engine or by the policy's own loop.

    A completion is a function of the seed, the group's `ref` and the number of its variant, whatever else is
    in the batch: an exact resume needs no saved random state.
    """
    prompts = [prompt for group in groups for prompt in group.prompts]
    keys: list[RngKey] = []
    for group in groups if not sampling.greedy else ():
        if group.ref is None:
            raise ValueError(f"question {group.question.sample_id} has no ref to key its random numbers")
        keys += [RngKey(seed=seed, variant=m, **asdict(group.ref)) for m in range(len(group.views))]
    draw = engine.sample if engine else partial(sample, policy)
    rows = iter(draw(prompts, sampling, keys))
    sampled = []
    for group in groups:
        completions = [  # Their text begins with the thought that the chat template opens in the prompt.
            tuple(replace(each, text=prompt.opening + each.text) for each in next(rows))
            for prompt in group.prompts
        ]
        sampled.append(replace(group, completions=tuple(completions)))
    return sampled


def reward_groups(
    groups: Sequence[Group], rules: Rules = PUBLISHED, *, step: int | None = None
) -> tuple[list[Group], list[SkippedQuestion], Counter[str]]:
    """The groups with their rewards by `rules`, the questions whose reward failed, and the counts of
    `rewards_of`.

    Raises StriveError for a reward that fails, unless the rules skip its question.
    """
    asked = [([[each.text for each in row] for row in group.completions], group.question) for group in groups]
    reason = all(group.style.reason for group in groups)
    grids, calls = rewards_of(asked, rules, reason=reason, step=step)
    rewarded, skipped = [], []
    for group, grid in zip(groups, grids, strict=True):
        if not isinstance(grid, StriveError):
            rewarded.append(replace(group, rewards=grid))
        elif rules.skip:
            skipped.append(SkippedQuestion(sample_id=group.question.sample_id, reason=str(grid)))
        else:
            raise grid
    return rewarded, skipped, calls


def learned(group: Group, settings: AlgorithmSettings) -> npt.NDArray[np.bool_]:
    """Which completions the update learns, [M, G]; a question with one of them is informative.

    Those that are compared with equally accurate ones only are not learned, nor with `mask_truncated` those
    that did not end by themselves (DAPO's overlong filtering, arXiv 2503.14476): their rewards count in the
    means, but none of their tokens is learned.
    """
    kept_MG = differs(group.reward_grid("accuracy"), settings.normalise)
    if not settings.mask_truncated:
        return kept_MG
    finished_MG = np.array([[each.finished for each in row] for row in group.completions])
    return np.asarray(kept_MG & finished_MG)
