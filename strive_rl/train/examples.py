"""Log-probabilities that stay put while a step's updates move the policy: the old ones, the reference's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from strive_data.schema import Question
from strive_rl.algorithm.advantage import has_zero_advantage
from strive_rl.config import AlgorithmSettings, Condition
from strive_rl.policy import Policy, Prompt, logprobs
from strive_rl.policy.logprobs import mask
from strive_rl.policy.sharding import unsharded
from strive_rl.rollout.builtin import Encoded, encode_groups, reward_grid
from strive_rl.schema import Completion, Group, Rewards, Rollout, View
from strive_rl.train.reference import Reference, reference_logprobs

# What a question teaches: which responses are learned under which prompts, each with its advantage.
#
# A question whose M×G answers are all equally accurate has nothing to teach and becomes no lesson; it still
# counts in the metrics.

Responses = tuple[tuple[Completion, ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainExample:
    """One question: its prompts, under each prompt the responses that are learned, and float64 [B] the
    advantages of all of these in their order."""

    sample_id: str
    prompts: tuple[Prompt, ...]
    responses: Responses
    advantages: Rewards

    @property
    def tokens(self) -> int:
        """Number of tokens of all responses."""
        return sum(len(response.ids) for row in self.responses for response in row)


def make_examples(
    rollouts: Sequence[Rollout],
    encoded: Encoded,
    grids: Sequence[Rewards],
    condition: Condition = "own",
    *,
    mask_truncated: bool = False,
) -> list[TrainExample]:
    """Lessons of the questions whose answers differ in accuracy; `grids` are their advantages [M, G].

    With `mask_truncated`, of their responses that ended by themselves (DAPO's overlong filtering, arXiv
    2503.14476): the rewards of the others stand in the baselines, but no token of them is learned.
    """
    clean = encoded.clean or (None,) * len(rollouts)
    made = [
        _lesson(rollout, prompts, uniform, grid, condition)
        for rollout, prompts, uniform, grid in zip(rollouts, encoded.prompts, clean, grids, strict=True)
        if not has_zero_advantage(reward_grid(rollout, "accuracy"))
    ]
    return [unsharded for lesson in made if (unsharded := finished(lesson))] if mask_truncated else made


def finished(lesson: TrainExample) -> TrainExample | None:
    """The lesson without truncated responses, and without prompts that have no others; None of nothing."""
    unsharded = np.array([response.finished for row in lesson.responses for response in row])
    rows = [tuple(response for response in row if response.finished) for row in lesson.responses]
    kept = tuple(row for row in rows if row)
    if not kept:
        return None
    return TrainExample(
        sample_id=lesson.sample_id,
        prompts=tuple(prompt for prompt, row in zip(lesson.prompts, rows, strict=True) if row),
        responses=kept,
        advantages=lesson.advantages[unsharded],
    )


def conditioned(
    prompts: tuple[Prompt, ...], clean: Prompt | None, responses: Responses, condition: Condition
) -> tuple[tuple[Prompt, ...], Responses, npt.NDArray[np.int64]]:
    """Prompts, the responses learned under each, and of each of these which of the M×G it is, int64 [B].

    `own`: each under the variant it was sampled under. `clean`: all under the uniform view (NoisyRollout,
    arXiv 2504.13055). `cross`: each under every variant (Share-GRPO, arXiv 2505.16673): M times the
    responses, so the loss, a mean over responses, is also the mean over variants. Differs from Share-GRPO,
    whose variants are rewritten questions: ours are views of the video.
    """
    everything = tuple(response for row in responses for response in row)
    order = np.arange(len(everything))
    if condition == "own":
        return prompts, responses, order
    if condition == "cross":
        return prompts, (everything,) * len(prompts), np.tile(order, len(prompts))
    if clean is None:
        raise ValueError("logprob_condition=clean: the group has no uniform view")
    return (clean,), (everything,), order


def _lesson(
    rollout: Rollout,
    prompts: tuple[Prompt, ...],
    clean: Prompt | None,
    grid_MG: Rewards,
    condition: Condition,
) -> TrainExample:
    read, responses, order = conditioned(prompts, clean, rollout.completions, condition)
    return TrainExample(
        sample_id=rollout.group.question.sample_id,
        prompts=read,
        responses=responses,
        advantages=grid_MG.ravel()[order],
    )


# A lesson that teaches nothing, for a process that has no question left while others have.
#
# One question about two small frames with one answer of two tokens: the shortest way through every weight
# that
# a real lesson uses.

SIDE = 64
LONG = 1 << 20


def make_dummy_example(policy: Policy) -> TrainExample:
    """The lesson for this policy. With a frozen vision tower its features are computed now, once."""
    unbounded = replace(policy, settings=replace(policy.settings, max_prompt_tokens=LONG))
    frames = np.zeros((2, SIDE, SIDE, 3), dtype=np.uint8)
    view = View(frames=frames, times=np.array([0.0, 1.0]), paired=True)
    question = Question(sample_id="filler", video="", question="", answer="A", problem_type="free-form")
    encoded = encode_groups(unbounded, [Group(question=question, views=(view,))])
    answer = Completion(ids=(policy.pad_id,) * 2, logprobs=(0.0, 0.0), text="", finished=True)
    return TrainExample(
        sample_id=question.sample_id,
        prompts=encoded.prompts[0],
        responses=((answer,),),
        advantages=np.zeros(1),
    )


Compute = Callable[[Sequence[Prompt], Sequence[Sequence[Completion]]], torch.Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedLogprobs:
    """Of one lesson, float32 [tokens of all its responses]; None where the loss does not ask for it.

    `old` by the trainer before the first update; a step of one update needs none, since there the policy
    itself is the old one.
    """

    old: torch.Tensor | None = None
    reference: torch.Tensor | None = None


def fixed_logprobs(
    policy: Policy,
    taught: Sequence[TrainExample],
    settings: AlgorithmSettings,
    reference: Reference | None,
    temperature: float,
) -> list[FixedLogprobs]:
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
        with unsharded(policy.model):
            old = _computed(policy, taught, by_policy)
    if settings.kl_beta:
        if reference is None:
            raise ValueError("kl_beta without a reference")
        known = reference

        def by_reference(prompts: Sequence[Prompt], rows: Sequence[Sequence[Completion]]) -> torch.Tensor:
            return reference_logprobs(known, policy, prompts, rows, temperature)

        with unsharded(policy.model if known.model is None else known.model):
            references = _computed(policy, taught, by_reference)
    return [FixedLogprobs(old=one, reference=other) for one, other in zip(old, references, strict=True)]


def _computed(policy: Policy, taught: Sequence[TrainExample], compute: Compute) -> list[torch.Tensor | None]:
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
