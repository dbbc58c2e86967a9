"""Groups → what the update learns: completions under the prompts of their variants, each with its advantage.

The log-probabilities that stay fixed while the updates of a step move the policy are computed here too: those
of the policy before the first update, and those of the reference of `algorithm.kl_beta`, the policy before
its first step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, compress
from typing import Any

import numpy as np
import torch

from strive_data.schema import Question
from strive_rl.config import AlgorithmSettings
from strive_rl.policy import Policy, load_policy, logprobs
from strive_rl.policy.logprobs import mask
from strive_rl.policy.sharding import unsharded
from strive_rl.rollout.groups import encode_groups, learned
from strive_rl.schema import Completion, Group, Prompt, Rewards, View

Completions = tuple[tuple[Completion, ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainExample:
    """One question: P prompts, under each the completions that are learned, and float64 [B] the advantages of
    all B completions in their order.

    `old_logprobs` (by the trainer, before the first update) and `reference_logprobs` are float32 [tokens of
    all completions], None where the loss does not use them.
    """

    sample_id: str
    prompts: tuple[Prompt, ...]
    completions: Completions
    advantages: Rewards
    old_logprobs: torch.Tensor | None = None
    reference_logprobs: torch.Tensor | None = None

    @property
    def flat(self) -> tuple[Completion, ...]:
        """All B completions."""
        return tuple(chain.from_iterable(self.completions))

    @property
    def tokens(self) -> int:
        """Number of tokens of all completions."""
        return sum(len(completion.ids) for completion in self.flat)


def make_examples(groups: Sequence[Group], settings: AlgorithmSettings) -> list[TrainExample]:
    """The examples of the groups with advantages, of their completions that are `learned`."""
    made: list[TrainExample] = []
    for group in groups:
        kept_MG = learned(group, settings)
        rows = [tuple(compress(row, keep)) for row, keep in zip(group.completions, kept_MG, strict=True)]
        if any(rows):
            example = TrainExample(
                sample_id=group.question.sample_id,
                prompts=tuple(compress(group.prompts, rows)),
                completions=tuple(filter(None, rows)),
                advantages=group.advantages[kept_MG],
            )
            made.append(example)
    return made


def load_reference(name: str, policy: Policy) -> Any:
    """The model of the reference of a policy loaded as `name`: with low-rank adapters the policy's own, whose
    adapters are then off; otherwise a frozen copy."""
    if policy.settings.lora_rank:
        return policy.model
    settings = replace(policy.settings, train_vision=False, gradient_checkpointing=False)
    return load_policy(name, settings).model.requires_grad_(False)


def with_fixed_logprobs(
    policy: Policy,
    examples: Sequence[TrainExample],
    settings: AlgorithmSettings,
    reference: Any | None,
    temperature: float,
) -> list[TrainExample]:
    """The examples with the old and the reference log-probabilities that the loss uses.

    A single update needs no old ones: the policy itself is the old policy. All processes must call this,
    whatever their numbers of examples.
    """
    old: Sequence[torch.Tensor | None] = [None] * len(examples)
    references = old
    if settings.epochs_per_rollout * settings.minibatches > 1 and settings.old_logprobs == "trainer":
        old = fixed_logprobs(policy, examples, temperature)
    if settings.kl_beta:
        if reference is None:
            raise ValueError("kl_beta without a reference")
        with adapters_off(reference):
            references = fixed_logprobs(replace(policy, model=reference), examples, temperature)
    return [
        replace(example, old_logprobs=before, reference_logprobs=by_reference)
        for example, before, by_reference in zip(examples, old, references, strict=True)
    ]


def fixed_logprobs(
    policy: Policy, examples: Sequence[TrainExample], temperature: float
) -> list[torch.Tensor]:
    """Log-probabilities without gradients of all tokens of each example, `policy.groups_per_pass` examples in
    a forward pass."""
    size = policy.settings.groups_per_pass
    vectors: list[torch.Tensor] = []
    with unsharded(policy.model), torch.no_grad():
        for start in range(0, len(examples), size):
            part = examples[start : start + size]
            made, mask_BL = pass_logprobs(policy, part, temperature)
            vectors += torch.split(made[mask_BL], [example.tokens for example in part])
    return vectors


def pass_logprobs(
    policy: Policy, examples: Sequence[TrainExample], temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities [B, L] of all completions of these examples in one forward pass, and their mask."""
    prompts = [prompt for example in examples for prompt in example.prompts]
    rows = [row for example in examples for row in example.completions]
    flat = [completion for row in rows for completion in row]
    return logprobs(policy, prompts, rows, temperature), mask(flat).to(policy.device)


@contextmanager
def adapters_off(model: Any) -> Iterator[None]:
    """Disable the low-rank adapters of the model, where it has any, inside this context."""
    adapted = [module for module in model.modules() if hasattr(module, "lora_A")]
    for module in adapted:
        module.enable_adapters(False)
    try:
        yield
    finally:
        for module in adapted:
            module.enable_adapters(True)


def make_dummy_example(policy: Policy) -> TrainExample:
    """An example of zero advantage for a process that has no question left while others have.

    One question about two small frames with one completion of two tokens: the shortest pass through every
    weight that a real example uses. With a frozen vision tower its features are computed here, once.
    """
    unbounded = replace(policy, settings=replace(policy.settings, max_prompt_tokens=1 << 20))
    view = View(frames=np.zeros((2, 64, 64, 3), dtype=np.uint8), times=np.array([0.0, 1.0]), paired=True)
    question = Question(sample_id="dummy", video="", question="", answer="A", problem_type="free-form")
    with unsharded(policy.model):
        (group,), _ = encode_groups(unbounded, [Group(question=question, views=(view,))])
    completion = Completion(ids=(policy.pad_id,) * 2, logprobs=(0.0, 0.0), text="", finished=True)
    return TrainExample(
        sample_id=question.sample_id,
        prompts=group.prompts,
        completions=((completion,),),
        advantages=np.zeros(1),
    )
