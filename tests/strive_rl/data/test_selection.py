"""Questions drawn by the expected variance of their accuracy: estimates by hand, frequencies, exact state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from strive_data.errors import SettingsError, UsageError
from strive_rl.config import DataSettings
from strive_rl.data import Builds, Cursor, Loader, Stream
from strive_rl.data.selection import Outcome, PassRates, draw_batch, outcomes_of, start_rates
from strive_rl.schema import Reward, SampleRef
from tests.strive_rl.conftest import group as make_group
from tests.strive_rl.made.shards import make_shards

STREAM = Stream(blocks=(4, 4), seed=7, batch_size=3)


def outcome(position: int, passed: float, completions: int = 8) -> Outcome:
    return position, passed, completions


def test_the_expected_variance_by_hand() -> None:
    rates = PassRates(3)
    rates.observe([outcome(0, 8), outcome(1, 4)])
    # Beta(9, 1), Beta(5, 5), Beta(1, 1): a·b/((a + b)(a + b + 1)).
    assert rates.expected_variance.tolist() == pytest.approx([9 / 110, 25 / 110, 1 / 6])
    # Older counts are halved, and an accuracy between 0 and 1 is a part of a count.
    rates.observe([outcome(0, 0.5, 1)])
    assert (rates.right[0], rates.wrong[0]) == (4.5, 0.5)
    weights = rates.weights(0.25)
    assert weights.sum() == pytest.approx(1)
    variance = rates.expected_variance
    assert weights.tolist() == pytest.approx((0.25 / 3 + 0.75 * variance / variance.sum()).tolist())


def test_what_cannot_be_used_is_not_drawn_again() -> None:
    rates = PassRates(8)
    rates.observe([outcome(position, 0, 0) for position in range(6)])
    weights = rates.weights(1.0)
    assert weights.tolist() == [0] * 6 + [0.5, 0.5]
    refs, after = draw_batch(Cursor(), STREAM, weights, 3)
    # Two are left: they come once a draw, in a second draw under another epoch.
    assert {ref.position for ref in refs} == {6, 7}
    assert (len(set(refs)), after) == (3, Cursor(epoch=2))
    rates.observe([outcome(6, 0, 0), outcome(7, 0, 0)])
    with pytest.raises(UsageError, match="no question is left"):
        rates.weights(0.5)


def test_questions_are_drawn_as_often_as_their_weights_say() -> None:
    rates = PassRates(8)
    rates.observe([outcome(position, 8) for position in range(4)])
    weights, drawn = rates.weights(0.1), np.zeros(8)
    cursor = Cursor()
    for _ in range(4000):
        (ref,), cursor = draw_batch(cursor, STREAM, weights, 1)
        drawn[ref.position] += 1
    assert (np.abs(drawn / 4000 - weights) < 4 * np.sqrt(weights / 4000)).all()
    refs, _ = draw_batch(Cursor(), STREAM, weights, 8)
    assert sorted(ref.position for ref in refs) == list(range(8))
    assert draw_batch(Cursor(), replace(STREAM, seed=8), weights, 8)[0] != refs


def test_the_state_is_all_that_a_draw_depends_on() -> None:
    rates = PassRates(8)
    rates.observe([outcome(0, 3), outcome(5, 0, 0), outcome(7, 8)])
    again = PassRates(8)
    again.load({name: values.tolist() for name, values in rates.state().items()})
    at = Cursor(epoch=12)
    assert draw_batch(at, STREAM, again.weights(0.2), 3) == draw_batch(at, STREAM, rates.weights(0.2), 3)


def test_outcomes_of_what_was_sampled_cannot_be_used_or_failed_in_its_reward() -> None:
    refs = [SampleRef(position=position, epoch=4) for position in (5, 2, 3)]
    rewards = tuple(
        tuple(Reward(accuracy=value, format=1, total=value) for value in row) for row in ((1, 0.5), (0, 1))
    )
    sampled = replace(make_group("q2"), ref=refs[1], rewards=rewards)
    failed = replace(make_group("q3"), ref=refs[2])
    assert outcomes_of(refs, [sampled, failed], [sampled]) == [outcome(2, 2.5, 4), outcome(5, 0, 0)]


def test_estimates_start_from_a_probe(tmp_path: Path) -> None:
    file = tmp_path / "rates.parquet"
    rows = {"sample_id": ["a", "a", "b", "x"], "passed": [1.0, 3.0, 0.0, 1.0], "completions": [4, 4, 0, 4]}
    pl.DataFrame(rows).write_parquet(file)
    rates = start_rates(["a", "b", "c"], str(file))
    assert (rates.right.tolist(), rates.wrong.tolist()) == ([4, 0, 0], [4, 0, 0])
    assert rates.usable.tolist() == [True, False, True]
    with pytest.raises(UsageError, match="none of the 1 questions"):
        start_rates(["z"], str(file))
    pl.DataFrame({"sample_id": ["a"]}).write_parquet(file)
    for path in (file, tmp_path / "absent.parquet"):
        with pytest.raises(UsageError, match=f"data.pass_rates {path}.*passed, completions"):
            start_rates(["a"], str(path))


def test_a_batch_follows_from_the_outcomes_of_the_one_before_on_any_number_of_ranks(tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards", samples=7)

    def taken(world_size: int, right: int) -> list[list[int]]:
        settings = DataSettings(questions_per_step=3, selection="variance", prefetch=3, selection_floor=0.01)
        loaders = [
            Loader(Builds.of(shards), settings, seed=5, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        cursor, batches = Cursor(), []
        for _ in range(4):
            parts = [each.take(cursor) for each in loaders]
            refs = [ref for part in parts for ref in part.refs]
            for each in loaders:
                assert each.rates is not None
                each.rates.observe([outcome(ref.position, right) for ref in refs])
            batches.append([ref.position for ref in refs])
            cursor = parts[0].after
        for each in loaders:
            each.close()
        return batches

    one = taken(1, 8)
    assert taken(2, 8) == taken(3, 8) == one
    assert taken(1, 4) != one
    assert taken(1, 4)[0] == one[0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"selection_floor": 0.0}, "selection_floor: got 0"),
        ({"selection": "variance", "window": 4}, "data.window: got 4"),
        ({"pass_rates": "x.parquet"}, "data.pass_rates: got x.parquet"),
    ],
)
def test_settings_that_do_not_go_together(given: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        DataSettings(**given)  # type: ignore[arg-type]
