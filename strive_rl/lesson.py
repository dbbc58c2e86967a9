"""What a question teaches: which responses are learned under which prompts, each with its advantage.

A question whose M×G answers are all equally accurate has nothing to teach and becomes no lesson; it still
counts in the metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from strive_rl.advantage import is_uninformative
from strive_rl.config import Condition
from strive_rl.policy import Prompt
from strive_rl.rollout import Encoded, reward_grid
from strive_rl.schema import Completion, Rewards, Rollout

Responses = tuple[tuple[Completion, ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
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


def lessons(
    rollouts: Sequence[Rollout],
    encoded: Encoded,
    grids: Sequence[Rewards],
    condition: Condition = "own",
    *,
    mask_truncated: bool = False,
) -> list[Lesson]:
    """Lessons of the questions whose answers differ in accuracy; `grids` are their advantages [M, G].

    With `mask_truncated`, of their responses that ended by themselves (DAPO's overlong filtering, arXiv
    2503.14476): the rewards of the others stand in the baselines, but no token of them is learned.
    """
    clean = encoded.clean or (None,) * len(rollouts)
    made = [
        _lesson(rollout, prompts, uniform, grid, condition)
        for rollout, prompts, uniform, grid in zip(rollouts, encoded.prompts, clean, grids, strict=True)
        if not is_uninformative(reward_grid(rollout, "accuracy"))
    ]
    return [whole for lesson in made if (whole := finished(lesson))] if mask_truncated else made


def finished(lesson: Lesson) -> Lesson | None:
    """The lesson without truncated responses, and without prompts that have no others; None of nothing."""
    whole = np.array([response.finished for row in lesson.responses for response in row])
    rows = [tuple(response for response in row if response.finished) for row in lesson.responses]
    kept = tuple(row for row in rows if row)
    if not kept:
        return None
    return Lesson(
        sample_id=lesson.sample_id,
        prompts=tuple(prompt for prompt, row in zip(lesson.prompts, rows, strict=True) if row),
        responses=kept,
        advantages=lesson.advantages[whole],
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
) -> Lesson:
    read, responses, order = conditioned(prompts, clean, rollout.completions, condition)
    return Lesson(
        sample_id=rollout.group.question.sample_id,
        prompts=read,
        responses=responses,
        advantages=grid_MG.ravel()[order],
    )
