"""All that a step asks before it learns: its questions and their refills, at once or in waves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from strive_data.errors import StriveError
from strive_rl.algorithm.advantage import has_zero_advantage
from strive_rl.algorithm.schedule import NOTHING, Outcome, following_alpha, outcome
from strive_rl.common.profiling import Stopwatch
from strive_rl.config import TrainSettings
from strive_rl.data import Batch, Cursor, Loader
from strive_rl.policy import NotFiniteError, Policy, Sampling
from strive_rl.rollout.builtin import Encoded, Grade, encode_groups, reward_grid, roll_out
from strive_rl.schema import Group, Rollout, SampleRef
from strive_rl.train.adaptive import Waves, ask_in_waves

# Questions put to the policy: what asking takes and gives, and the fixed way: all M variants at once.

T = TypeVar("T")


class Everyone(Protocol):
    """Joins the lists of all processes in the order of their ranks; every process must call it."""

    def __call__(self, mine: list[T], /) -> list[T]:
        """The joined list, the same on every process."""


def alone(mine: list[T], /) -> list[T]:
    """The lists of all processes, where there is one."""
    return mine


@dataclass(frozen=True, kw_only=True, eq=False)
class Stages:
    """`encode` groups to prompts; `roll` out encoded groups, whose first views have this number among the
    variants of their question: a variant has the same answers in whichever wave and process it is asked."""

    encode: Callable[[Sequence[Group]], Encoded]
    roll: Callable[[Encoded, int], list[Rollout]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """A batch with its answers: rollouts and prompts in one order. `waves` is how often was sampled."""

    batch: Batch
    encoded: Encoded
    rollouts: tuple[Rollout, ...]
    waves: int = 1


def ask_once(batch: Batch, stages: Stages) -> Answered:
    """Every question under all of its variants."""
    encoded = stages.encode(batch.groups)
    return Answered(batch=batch, encoded=encoded, rollouts=tuple(stages.roll(encoded, 0)))


# New questions for those that teach nothing: DAPO's dynamic sampling (arXiv 2503.14476), up to a limit.
#
# A question whose answers are all equally accurate is left out of the update; so is one that cannot be read
# or
# encoded. A step asks as many new questions as are missing, the next ones of the stream, until it has as
# many
# that teach as `data.questions_per_step` says, or `rollout.refill_rounds` times; then it goes on with those
# it
# has. The cursor moves over every question that was asked: none is lost or asked twice in an epoch.
#
# Differs from DAPO, which draws whole batches and throws the surplus away: here nothing that teaches is.
# The
# price is counted: `drawn` questions for `taught`. Like every filter on outcomes it changes what is
# optimised:
# questions count by the chance that their answers differ.

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
    return not has_zero_advantage(reward_grid(rollout, "accuracy"))


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


def collect(
    policy: Policy,
    loader: Loader,
    cursor: Cursor,
    settings: TrainSettings,
    *,
    step: int,
    alpha: float | None,
    grade: Grade,
    watch: Stopwatch,
    everyone: Everyone = alone,
) -> Gathered:
    """This process's part of the questions, prompts and rollouts of a step, whose variants have `alpha`.

    With several processes all must call it; what decides of waves and refills is known to all. Raises
    StriveError with step and questions where the policy's probabilities are not numbers.
    """
    ahead = next_alpha(alpha, loader, settings, step)

    def take(place: Cursor, size: int) -> Batch:
        batch = loader.take(place, size=size, alpha=alpha, next_alpha=ahead)
        watch.lap("data")
        return batch

    def redraw(pick: SampleRef, other: float) -> Group:
        group = loader.redraw(pick, other)
        watch.lap("data")
        return group

    def encode(groups: Sequence[Group]) -> Encoded:
        encoded = encode_groups(policy, groups)
        watch.lap("encode")
        return encoded

    def roll(encoded: Encoded, first_variant: int) -> list[Rollout]:
        with _questions_named(step, encoded):
            made = roll_out(
                policy, encoded, _sampling(settings), settings.seed, first_variant=first_variant, grade=grade
            )
        watch.lap("rollout")
        return made

    stages, waves = Stages(encode=encode, roll=roll), _waves(settings, alpha)

    def ask(batch: Batch) -> Answered:
        if waves is None:
            return ask_once(batch, stages)
        return ask_in_waves(batch, stages, redraw, waves, everyone)

    return gather(
        take,
        ask,
        cursor,
        questions=settings.data.questions_per_step,
        rounds=settings.rollout.refill_rounds,
        everyone=everyone,
    )


@contextmanager
def _questions_named(step: int, encoded: Encoded) -> Iterator[None]:
    """Say which step and questions it was where probabilities are not numbers."""
    try:
        yield
    except NotFiniteError as error:
        ids = ", ".join(group.question.sample_id for group in encoded.groups)
        raise StriveError(
            f"step {step}: {error} Questions of this pass: {ids}; train again with a lower optim.lr"
        ) from error


def next_alpha(
    alpha: float | None,
    loader: Loader,
    settings: TrainSettings,
    step: int,
    seen: Outcome = NOTHING,
) -> float | None:
    """α of the step after the 1-based `step`, which had `alpha` and, over all processes, this outcome.

    Without it a guess, right but for what only the outcome decides. None where variants have no one α.
    """
    start = loader.alpha
    if alpha is None or start is None:
        return None
    return following_alpha(alpha, settings.data, start=start, step=step, steps=settings.steps, seen=seen)


def _waves(settings: TrainSettings, alpha: float | None) -> Waves | None:
    if not settings.rollout.adaptive or alpha is None:
        return None
    return Waves(
        fixed=settings.data.variants,
        most=settings.most_variants,
        alpha=alpha,
        focus=settings.rollout.focus,
        least=settings.data.alpha_least,
    )


def _sampling(settings: TrainSettings) -> Sampling:
    rollout = settings.rollout
    return Sampling(
        completions=rollout.completions,
        max_new_tokens=rollout.max_new_tokens,
        temperature=rollout.temperature,
    )
