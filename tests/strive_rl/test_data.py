"""The stream: each question once an epoch, the same from any place in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from strive_data.settings import as_dict
from strive_rl.config import DataSettings
from strive_rl.data import Cursor, Pick, epoch_order, next_batch, read_groups
from strive_rl.views import plan_views
from tests.strive_rl.made_shards import SETTINGS, make_shards


def test_an_order_is_fixed_by_seed_and_epoch() -> None:
    """Golden: the same on every machine and numpy, since it comes from raw bits."""
    assert epoch_order(0, 0, 8).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]
    assert epoch_order(0, 1, 8).tolist() != epoch_order(0, 0, 8).tolist()
    assert epoch_order(1, 0, 8).tolist() != epoch_order(0, 0, 8).tolist()


@given(count=st.integers(1, 20), size=st.integers(1, 9), batches=st.integers(1, 12), seed=st.integers(0, 99))
def test_each_question_comes_once_an_epoch(count: int, size: int, batches: int, seed: int) -> None:
    cursor, picks = Cursor(), []
    for _ in range(batches):
        batch, cursor = next_batch(cursor, seed=seed, count=count, size=size)
        assert len(batch) == size
        picks += batch
    expected = [
        Pick(position=int(position), epoch=epoch)
        for epoch in range(1 + batches * size // count)
        for position in epoch_order(seed, epoch, count)
    ]
    assert picks == expected[: batches * size]


def test_the_stream_goes_on_from_its_two_numbers() -> None:
    _, middle = next_batch(Cursor(), seed=3, count=7, size=5)
    assert middle == Cursor(epoch=0, taken=5)
    batch, after = next_batch(Cursor(epoch=0, taken=5), seed=3, count=7, size=5)
    assert [pick.epoch for pick in batch] == [0, 0, 1, 1, 1]
    assert after == Cursor(epoch=1, taken=3)


def test_groups_come_in_the_order_of_the_picks(tmp_path: Path) -> None:
    shards = make_shards(tmp_path / "shards")
    plan = plan_views(as_dict(SETTINGS), DataSettings())
    picks = [Pick(position=4, epoch=0), Pick(position=1, epoch=2), Pick(position=4, epoch=1)]
    groups = read_groups(shards, picks, plan, seed=0)
    assert [group.question.sample_id for group in groups] == ["q4", "q1", "q4"]
    assert all(len(group.views) == 2 for group in groups)
    first, again = groups[0].views[0].times, groups[2].views[0].times
    assert not np.array_equal(first, again)
