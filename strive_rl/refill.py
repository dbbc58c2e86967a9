"""New questions for those that teach nothing: DAPO's dynamic sampling (arXiv 2503.14476), up to a limit.

A question whose answers are all equally accurate is left out of the update; so is one that cannot be read or
encoded. A step asks as many new questions as are missing, the next ones of the stream, until it has as many
that teach as `data.questions_per_step` says, or `rollout.refill_rounds` times; then it goes on with those it
has. The cursor moves over every question that was asked: none is lost or asked twice in an epoch.

Differs from DAPO, which draws whole batches and throws the surplus away: here nothing that teaches is. The
price is counted: `drawn` questions for `taught`. Like every filter on outcomes it changes what is optimised:
questions count by the chance that their answers differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from strive_rl.advantage import is_uninformative
from strive_rl.asking import Answered, Everyone, alone
from strive_rl.data import Batch, Cursor
from strive_rl.rollout import Encoded, reward_grid
from strive_rl.schedule import Outcome, outcome
from strive_rl.schema import Rollout

COUNTS = ("drawn", "taught", "refills", "waves", "masked")


@dataclass(frozen=True, kw_only=True, eq=False)
class Gathered:
    """All that a step asked, this process's part: one batch, behind which its cursor stands, with prompts and
    rollouts. Over all processes: questions `drawn`, those `taught` and how many of their responses were
    `truncated`, and the `outcome` of all; extra rounds, and how often was sampled in all."""

    batch: Batch
    encoded: Encoded
    rollouts: tuple[Rollout, ...]
    drawn: int
    taught: int
    truncated: int
    outcome: Outcome
    refills: int
    waves: int

    def counts(self, *, masked: bool) -> dict[str, int]:
        """What metrics.jsonl tells of it; `masked`: whether truncated responses are left out of the loss."""
        told = (self.drawn, self.taught, self.refills, self.waves, self.truncated if masked else 0)
        return dict(zip(COUNTS, told, strict=True))


def gather(
    take: Callable[[Cursor, int], Batch],
    ask: Callable[[Batch], Answered],
    cursor: Cursor,
    *,
    questions: int,
    rounds: int = 0,
    everyone: Everyone = alone,
) -> Gathered:
    """Take `questions` questions and ask them, then, at most `rounds` times, as many as are missing.

    `take` gives this process's part of the next global questions.
    """
    parts: list[Answered] = []
    taught = 0
    while taught < questions and len(parts) <= rounds:
        asked = ask(take(cursor, questions - taught))
        parts.append(asked)
        cursor = asked.batch.after
        taught += sum(everyone([teaching(asked.rollouts)]))
    return _gathered(parts, taught, everyone)


def teaching(rollouts: Sequence[Rollout]) -> int:
    """How many of these questions have answers that differ in accuracy."""
    return sum(map(_teaches, rollouts))


def _teaches(rollout: Rollout) -> bool:
    return not is_uninformative(reward_grid(rollout, "accuracy"))


def _truncated(rollout: Rollout) -> int:
    return sum(not completion.finished for row in rollout.completions for completion in row)


def _gathered(parts: Sequence[Answered], taught: int, everyone: Everyone) -> Gathered:
    batches, encoded = [part.batch for part in parts], [part.encoded for part in parts]
    rollouts = tuple(rollout for part in parts for rollout in part.rollouts)
    batch = Batch(
        groups=tuple(group for each in batches for group in each.groups),
        picks=tuple(pick for each in batches for pick in each.picks),
        broken=tuple(broken for each in batches for broken in each.broken),
        after=batches[-1].after,
    )
    whole = Encoded(
        groups=tuple(group for each in encoded for group in each.groups),
        prompts=tuple(prompts for each in encoded for prompts in each.prompts),
        dropped=tuple(dropped for each in encoded for dropped in each.dropped),
        clean=tuple(prompt for each in encoded for prompt in each.clean),
    )
    return Gathered(
        batch=batch,
        encoded=whole,
        rollouts=rollouts,
        drawn=sum(everyone([len(batch.groups) + len(batch.broken)])),
        taught=taught,
        truncated=sum(everyone([sum(_truncated(each) for each in rollouts if _teaches(each))])),
        outcome=Outcome.of(everyone([outcome(reward_grid(each, "accuracy") for each in rollouts)])),
        refills=len(parts) - 1,
        waves=sum(part.waves for part in parts),
    )
