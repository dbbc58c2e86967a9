"""Groups → what the update learns: completions under the prompts of their variants, with their advantages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, compress

import numpy as np
import torch

from strive_data.schema import Question
from strive_rl.config import AlgorithmSettings
from strive_rl.policy import Policy
from strive_rl.policy.sharding import unsharded
from strive_rl.rollout.groups import encode_groups, learned
from strive_rl.schema import Completion, Group, Prompt, Rewards, View


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainExample:
    """One question: P prompts, under each the completions that are learned, and float64 [B] the advantages of
    all B completions in their order.

    `old_logprobs` (by the trainer, before the first update) and `reference_logprobs` are float32 [tokens of
    all completions], None where the loss does not use them.
    """

    sample_id: str
    prompts: tuple[Prompt, ...]
    completions: tuple[tuple[Completion, ...], ...]
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


def make_dummy_example(policy: Policy) -> TrainExample:
    """An example of zero advantage for a process that has no question left while others have: one completion
    of two tokens about two small frames, the shortest pass through every weight that a real one uses."""
    unbounded = replace(policy, settings=replace(policy.settings, max_prompt_tokens=1 << 20))
    view = View(frames=np.zeros((2, 64, 64, 3), dtype=np.uint8), times=np.array([0.0, 1.0]), paired=True)
    question = Question(sample_id="dummy", video="", question="", answer="A", problem_type="free-form")
    with unsharded(policy.model):
        (group,), _ = encode_groups(unbounded, [Group(question=question, views=(view,))])
    completion = Completion(ids=policy.end_ids[:1] * 2, logprobs=(0.0, 0.0), text="", finished=True)
    return TrainExample(
        sample_id=question.sample_id,
        prompts=group.prompts,
        completions=((completion,),),
        advantages=np.zeros(1),
    )
