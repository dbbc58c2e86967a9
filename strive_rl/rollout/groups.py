"""Groups through encoding, sampling and reward: the part of a step that training and evaluation share.

What samples is "builtin", the policy's own loop on the trainer's weights, or another engine, which holds a
copy of the weights: the trainer sends them once a step, before anything is sampled, under the number of the
steps done.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from strive_data.errors import SampleError, StriveError, UsageError
from strive_rl.algorithm.advantage import differs
from strive_rl.algorithm.reward import PUBLISHED, Rules, rewards_of
from strive_rl.common import distributed
from strive_rl.common.preflight import require_engine
from strive_rl.config import AlgorithmSettings, EngineSettings
from strive_rl.policy import Patches, Policy, Prompt, RngKey, Sampling, encode, sample, with_features
from strive_rl.policy.lora import plain_weights
from strive_rl.policy.sharding import unsharded
from strive_rl.schema import Completion, Group, SkippedQuestion

# Read by vLLM when it is imported. The engine lives in this process and does not bind itself to cores.
VLLM_DEFAULTS = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


class RolloutEngine(Protocol):
    """Samples from a copy of the weights, that of `version`; None stands for the policy's own loop on its own
    weights."""

    version: int

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[RngKey] = ()
    ) -> list[list[Completion]]:
        """G completions of each prompt, [P][G]; equal keys, prompts and weights give equal completions.

        `keys` has one for each prompt, unless `sampling.greedy`.
        """

    def sync(self, weights: Iterable[tuple[str, torch.Tensor]], version: int) -> None:
        """Take weights, by the names of a checkpoint; what was cached under older ones is dropped."""

    def sleep(self) -> None:
        """End sampling: free memory until `wake`; the weights may be lost. All processes must call it, since
        those that share a copy of the weights sample together until each is done."""

    def wake(self) -> None:
        """Take the memory back; a `sync` must follow."""


@contextmanager
def newest_weights(engine: RolloutEngine | None, policy: Policy, version: int) -> Iterator[None]:
    """Sampling by all processes with all of the policy's newest weights, those after `version` steps, by the
    engine too, which sleeps after this context. A StriveError of one process ends all others, as where the
    engine sampled with other weights."""
    with unsharded(policy.model), distributed.propagate_errors():
        if engine:
            engine.wake()
            engine.sync(plain_weights(policy.model, policy.settings.lora_scale), version)
        yield
        if engine:
            if engine.version != version:
                raise StriveError(
                    f"after step {version}: the engine sampled with the weights of step {engine.version}"
                )
            engine.sleep()


def load_engine(policy: Policy, settings: EngineSettings, max_new_tokens: int) -> RolloutEngine | None:
    """The engine of the settings, None for the builtin one; it takes prompts as long as the policy does, with
    completions of `max_new_tokens`.

    Raises UsageError where vLLM is not installed, or the engine is not known to read this architecture as the
    policy does.
    """
    if settings.engine == "builtin":
        return None
    require_engine(settings, policy.model.config.model_type, distributed.world_size())
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    for name, value in VLLM_DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        from strive_rl.rollout.vllm import VllmEngine
    except ImportError as error:
        raise UsageError(
            f"rollout.engine=vllm: vllm cannot be imported ({error}); install the [vllm] extra"
        ) from error
    return VllmEngine(policy, settings, policy.settings.max_prompt_tokens + max_new_tokens)


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
