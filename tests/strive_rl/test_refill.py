"""Refilling by hand: who is asked, how often, and where the cursor stands; nothing is lost or asked twice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.errors import SettingsError
from strive_rl.asking import ask_once
from strive_rl.config import RolloutSettings
from strive_rl.data import Cursor, Stream, next_batch, rank_slice
from strive_rl.refill import Gathered, gather, teaching
from tests.strive_rl.asked_questions import FakePolicy, made_batch, taker

START = Cursor()
STREAM = Stream(blocks=(7, 5), seed=3, batch_size=4)
ORDER = [pick.position for pick in next_batch(Cursor(), STREAM, 24)[0]]


def gathered(
    teach: Sequence[int], cursor: Cursor = START, rounds: int = 0, broken: Sequence[int] = ()
) -> tuple[Gathered, list[list[int]]]:
    """A step of four questions, of which those at `teach` are mixed, all others right; and who was asked."""
    policy = FakePolicy(chance=lambda p, alpha: 0.5 if p in teach else 1.0, completions=16)
    made = gather(
        taker(STREAM, broken=broken),
        lambda batch: ask_once(batch, policy.stages),
        cursor,
        questions=4,
        rounds=rounds,
    )
    return made, [positions for _, positions in policy.calls]


def test_without_rounds_a_step_is_one_batch() -> None:
    made, asked = gathered(ORDER[:1])
    assert asked == [ORDER[:4]]
    assert made.counts(masked=True) == {"drawn": 4, "taught": 1, "refills": 0, "waves": 1, "masked": 0}
    assert made.batch.after == Cursor(epoch=0, taken=4)


def test_each_round_asks_as_many_as_are_missing() -> None:
    teach = [ORDER[i] for i in (0, 2, 5, 6)]
    made, asked = gathered(teach, rounds=5)
    assert asked == [ORDER[:4], ORDER[4:6], ORDER[6:7]]
    assert made.counts(masked=False) == {"drawn": 7, "taught": 4, "refills": 2, "waves": 3, "masked": 0}
    assert made.batch.after == Cursor(epoch=0, taken=7)
    assert [group.question.sample_id for group in made.encoded.groups] == [f"q{i}" for i in ORDER[:7]]
    assert [rollout.group for rollout in made.rollouts] == list(made.encoded.groups)
    assert teaching(made.rollouts) == 4


def test_the_limit_ends_it_and_the_step_goes_on_with_what_it_has() -> None:
    made, asked = gathered([], rounds=2)
    assert [len(positions) for positions in asked] == [4, 4, 4]
    assert (made.drawn, made.taught, made.refills) == (12, 0, 2)


def test_what_is_damaged_or_cannot_be_encoded_is_made_up_for_too() -> None:
    made, asked = gathered(ORDER, rounds=1, broken=ORDER[1:3])
    assert asked == [[ORDER[0], ORDER[3]], ORDER[4:6]]
    assert [each.sample_id for each in made.batch.broken] == [f"q{i}" for i in ORDER[1:3]]
    assert (made.drawn, made.taught) == (6, 4)


@given(teach=st.sets(st.integers(0, 11)), rounds=st.integers(0, 4), steps=st.integers(1, 6))
def test_the_steps_together_ask_the_stream_as_it_is(teach: set[int], rounds: int, steps: int) -> None:
    cursor, asked = Cursor(), []
    for _ in range(steps):
        made, positions = gathered(sorted(teach), cursor, rounds)
        asked += [position for each in positions for position in each]
        cursor = made.batch.after
    picks, after = next_batch(Cursor(), STREAM, len(asked))
    assert asked == [pick.position for pick in picks]
    assert cursor == after


def test_ranks_agree_on_when_it_is_enough() -> None:
    """The one with questions enough goes on drawing for the one without."""
    teach = {ORDER[0], ORDER[1], ORDER[5]}
    said: list[list[Any]] = []

    def part(rank: int, size: int, everyone: Any) -> Gathered:
        policy = FakePolicy(chance=lambda p, alpha: 0.5 if p in teach else 1.0, completions=16)

        def take(cursor: Cursor, wanted: int) -> Any:
            picks, after = next_batch(cursor, STREAM, wanted)
            mine = [pick.position for pick in rank_slice(picks, rank, size)]
            batch = made_batch(mine, variants=2)
            return type(batch)(groups=batch.groups, picks=batch.picks, broken=(), after=after)

        return gather(
            take,
            lambda batch: ask_once(batch, policy.stages),
            Cursor(),
            questions=4,
            rounds=3,
            everyone=everyone,
        )

    def sums(mine: list[Any]) -> list[Any]:
        said.append(mine)
        return mine

    whole = part(0, 1, sums)
    for rank in (0, 1):
        turn = count()
        other = part(rank, 2, lambda mine, turn=turn: said[next(turn)])
        assert other.counts(masked=True) == whole.counts(masked=True)
        assert other.batch.after == whole.batch.after
        assert next(turn) == len(said)


def test_settings() -> None:
    with pytest.raises(SettingsError, match="expected at least 0"):
        RolloutSettings(refill_rounds=-1)
