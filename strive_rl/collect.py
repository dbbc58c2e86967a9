"""All that a step asks before it learns: its questions and their refills, at once or in waves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from strive_data.errors import StriveError
from strive_rl.asking import Answered, Everyone, Stages, alone, ask_once
from strive_rl.config import TrainSettings
from strive_rl.data import Batch, Cursor, Loader
from strive_rl.policy import NotFiniteError, Policy, Sampling
from strive_rl.refill import Gathered, gather
from strive_rl.rollout import Encoded, Grade, encode_groups, roll_out
from strive_rl.schedule import NOTHING, Outcome, following_alpha
from strive_rl.schema import Group, Pick, Rollout
from strive_rl.stopwatch import Stopwatch
from strive_rl.waves import Waves, ask_in_waves


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

    def redraw(pick: Pick, other: float) -> Group:
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
