"""Log-probabilities that stay put while a step's updates move the policy: the old ones, the reference's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from strive_rl.config import AlgorithmSettings
from strive_rl.lesson import Lesson
from strive_rl.policy import Policy, Prompt, logprobs
from strive_rl.policy.logprobs import mask
from strive_rl.policy.sharding import whole
from strive_rl.reference import Reference, reference_logprobs
from strive_rl.schema import Completion

Compute = Callable[[Sequence[Prompt], Sequence[Sequence[Completion]]], torch.Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Anchor:
    """Of one lesson, float32 [tokens of all its responses]; None where the loss does not ask for it.

    `old` by the trainer before the first update; a step of one update needs none, since there the policy
    itself is the old one.
    """

    old: torch.Tensor | None = None
    reference: torch.Tensor | None = None


def anchors(
    policy: Policy,
    taught: Sequence[Lesson],
    settings: AlgorithmSettings,
    reference: Reference | None,
    temperature: float,
) -> list[Anchor]:
    """Anchors of the lessons, at the price of one forward pass for each kind that is needed.

    Processes may have different numbers of lessons, or none; all must call it.
    """

    def by_policy(prompts: Sequence[Prompt], rows: Sequence[Sequence[Completion]]) -> torch.Tensor:
        with torch.no_grad():
            return logprobs(policy, prompts, rows, temperature)

    nothing: list[torch.Tensor | None] = [None] * len(taught)
    several = settings.epochs_per_rollout * settings.minibatches > 1
    old = references = nothing
    if several and settings.old_logprobs == "trainer":
        with whole(policy.model):
            old = _computed(policy, taught, by_policy)
    if settings.kl_beta:
        if reference is None:
            raise ValueError("kl_beta without a reference")
        known = reference

        def by_reference(prompts: Sequence[Prompt], rows: Sequence[Sequence[Completion]]) -> torch.Tensor:
            return reference_logprobs(known, policy, prompts, rows, temperature)

        with whole(policy.model if known.model is None else known.model):
            references = _computed(policy, taught, by_reference)
    return [Anchor(old=one, reference=other) for one, other in zip(old, references, strict=True)]


def _computed(policy: Policy, taught: Sequence[Lesson], compute: Compute) -> list[torch.Tensor | None]:
    """One vector of log-probabilities a lesson, `policy.groups_per_pass` lessons at a time."""
    size = policy.settings.groups_per_pass
    done: list[torch.Tensor | None] = []
    for start in range(0, len(taught), size):
        part = taught[start : start + size]
        prompts = [prompt for lesson in part for prompt in lesson.prompts]
        rows = [row for lesson in part for row in lesson.responses]
        place = mask([response for row in rows for response in row]).to(policy.device)
        done += torch.split(compute(prompts, rows)[place], [lesson.tokens for lesson in part])
    return done
