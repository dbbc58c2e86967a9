"""The stream: each question once an epoch, the same global batches from any place on any number of ranks."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.errors import UsageError
from strive_rl.data.sampler import Cursor, Stream, cursor_of, epoch_order, next_batch, rank_slice, state_of
from strive_rl.schema import SampleRef

layouts = st.lists(st.integers(1, 7), min_size=1, max_size=8).map(tuple)
streams = st.builds(
    Stream,
    blocks=layouts,
    seed=st.integers(0, 99),
    batch_size=st.integers(1, 9),
    window=st.sampled_from([0, 1, 3, 5, 100]),
    fingerprint=st.just("f"),
)


def stream(count: int = 8, **changes: object) -> Stream:
    fields: dict[str, object] = {"blocks": (count,), "seed": 0, "batch_size": 5}
    return Stream(**(fields | changes))  # type: ignore[arg-type]


def batches(of: Stream, steps: int, cursor: Cursor | None = None) -> list[list[SampleRef]]:
    """The next global batches behind a cursor."""
    made, cursor = [], cursor or Cursor()
    for _ in range(steps):
        picks, cursor = next_batch(cursor, of)
        made.append(picks)
    return made


def test_an_order_is_fixed_by_seed_and_epoch() -> None:
    """Golden: the same on every machine and numpy, since it comes from raw bits."""
    assert epoch_order(stream(), 0).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]
    assert epoch_order(stream(), 1).tolist() != epoch_order(stream(), 0).tolist()
    assert epoch_order(stream(seed=1), 0).tolist() != epoch_order(stream(), 0).tolist()
    windowed = stream(blocks=(2, 3, 1, 2), window=3)
    assert epoch_order(windowed, 0).tolist() == [5, 1, 0, 4, 3, 2, 6, 7]
    assert epoch_order(windowed, 1).tolist() == [2, 1, 0, 5, 3, 4, 7, 6]


@given(of=streams, steps=st.integers(1, 12))
def test_each_question_comes_once_an_epoch_in_batches_of_one_size(of: Stream, steps: int) -> None:
    made = batches(of, steps)
    assert {len(batch) for batch in made} == {of.batch_size}
    picks = [pick for batch in made for pick in batch]
    expected = [
        SampleRef(position=int(position), epoch=epoch)
        for epoch in range(1 + len(picks) // of.count)
        for position in epoch_order(of, epoch)
    ]
    assert picks == expected[: len(picks)]
    for epoch in range(3):
        assert sorted(epoch_order(of, epoch)) == list(range(of.count))


@given(of=streams, cut=st.integers(0, 8), worlds=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_ranks_and_resumes_give_the_same_global_batches(
    of: Stream, cut: int, worlds: tuple[int, int]
) -> None:
    """8 steps on one process are `cut` steps on some ranks, a checkpoint, and the rest on others."""
    whole = batches(of, 8)
    cursor, made = Cursor(), []
    for step in range(8):
        if step == cut:
            cursor = cursor_of(state_of(cursor, of), replace(of))
        world = worlds[step >= cut]
        parts = []
        for rank in range(world):
            picks, after = next_batch(cursor, of)
            parts.append(rank_slice(picks, rank, world))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        made.append([pick for part in parts for pick in part])
        cursor = after
    assert made == whole


@given(of=streams, sizes=st.lists(st.integers(1, 7), min_size=1, max_size=6))
def test_steps_may_take_more_or_less_of_the_stream(of: Stream, sizes: list[int]) -> None:
    cursor, taken = Cursor(), []
    for size in sizes:
        picks, cursor = next_batch(cursor, of, size)
        taken += picks
    assert taken == next_batch(Cursor(), of, sum(sizes))[0]


@given(blocks=layouts, window=st.integers(1, 20), seed=st.integers(0, 9))
def test_a_window_holds_few_shards(blocks: tuple[int, ...], window: int, seed: int) -> None:
    """Shards are walked one after the other: within a window only its ends are shared with others."""
    of = stream(blocks=blocks, window=window, seed=seed)
    shard_of = np.repeat(np.arange(len(blocks)), blocks)
    order = epoch_order(of, 0)
    for start in range(0, of.count, window):
        shards = set(shard_of[order[start : start + window]].tolist())
        sizes = sorted((blocks[shard] for shard in shards), reverse=True)
        assert sum(sizes) - sum(sizes[:2]) <= window


def test_without_a_window_the_order_does_not_depend_on_the_shards() -> None:
    for blocks in ((8,), (1,) * 8, (3, 5)):
        assert epoch_order(stream(blocks=blocks), 2).tolist() == epoch_order(stream(), 2).tolist()


def test_an_order_cannot_be_changed_by_its_readers() -> None:
    with pytest.raises(ValueError, match="read-only"):
        epoch_order(stream(), 0)[0] = 1


def test_the_stream_goes_on_from_its_two_numbers() -> None:
    of = stream(7, seed=3)
    _, middle = next_batch(Cursor(), of)
    assert middle == Cursor(epoch=0, taken=5)
    batch, after = next_batch(Cursor(epoch=0, taken=5), of)
    assert [pick.epoch for pick in batch] == [0, 0, 1, 1, 1]
    assert after == Cursor(epoch=1, taken=3)


def test_seven_shards_on_four_ranks_take_equal_steps() -> None:
    """The layout in which webdataset's own split gave 20, 20, 13 and 7 samples to the ranks."""
    of = stream(blocks=(20, 7, 7, 7, 7, 6, 6), batch_size=4, window=10)
    steps = [[rank_slice(batch, rank, 4) for rank in range(4)] for batch in batches(of, 15)]
    assert {len(part) for step in steps for part in step} == {1}
    assert sorted(part[0].position for step in steps for part in step) == list(range(60))


def test_a_slice_is_the_ranks_part_in_order() -> None:
    assert [rank_slice(range(8), rank, 3) for rank in range(3)] == [[0, 1], [2, 3, 4], [5, 6, 7]]
    assert list(accumulate(len(rank_slice(range(8), rank, 4)) for rank in range(4))) == [2, 4, 6, 8]


def test_a_place_in_another_stream_is_refused_with_the_difference() -> None:
    of = stream(fingerprint="old")
    state = state_of(Cursor(epoch=2, taken=3), of)
    assert state == {
        "epoch": 2,
        "taken": 3,
        "seed": 0,
        "batch_size": 5,
        "window": 0,
        "fingerprint": "old",
    }
    assert cursor_of(state, of) == Cursor(epoch=2, taken=3)
    with pytest.raises(UsageError, match=r"batch_size was 5, now 4; fingerprint was old, now new$"):
        cursor_of(state, stream(fingerprint="new", batch_size=4))
