"""Pairs of adjacent candidates, by hand and as they come out of shards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.errors import UsageError
from strive_rl.config import DataSettings
from strive_rl.neighbours import with_neighbours
from strive_rl.views import group_of, plan_views, training_group, with_clean_view
from tests.strive_rl.made_shards import SAMPLED, made_sample, make_shards

EVERYTHING = np.arange(12, dtype=np.int32)


def test_by_hand() -> None:
    """The last candidate has none behind it and stands twice."""
    assert with_neighbours(np.array([0, 4, 5, 11]), EVERYTHING, 12).tolist() == [0, 1, 4, 5, 5, 6, 11, 11]


@given(chosen=st.sets(st.integers(0, 11), min_size=1))
def test_patches_keep_the_order_and_span_one_gap_at_most(chosen: set[int]) -> None:
    pairs = with_neighbours(np.array(sorted(chosen)), EVERYTHING, 12).reshape(-1, 2)
    assert pairs[:, 0].tolist() == sorted(chosen)
    assert set(np.diff(pairs, axis=1).ravel().tolist()) <= {0, 1}
    assert (np.diff(pairs.mean(axis=1)) > 0).all()


def test_a_neighbour_that_is_not_held_is_refused() -> None:
    with pytest.raises(UsageError, match=r"candidate 5 .* frame_pairs=doubled"):
        with_neighbours(np.array([2, 4]), np.array([2, 3, 4]), 12)


def test_views_of_shards_show_them_with_their_times(tmp_path: Path) -> None:
    """Candidates stand at .5, 1.5, … s."""
    shards = make_shards(tmp_path / "build")
    sample = shards.read(0)
    plan = replace(plan_views(shards.settings, DataSettings()), neighbours=True)
    plain = training_group(sample, replace(plan, neighbours=False), seed=0, epoch=0)
    beside = training_group(sample, plan, seed=0, epoch=0)
    for one, two in zip(plain.views, beside.views, strict=True):
        assert two.paired
        assert not one.paired
        np.testing.assert_array_equal(two.times[::2], one.times)
        np.testing.assert_array_equal(two.frames[::2], one.frames)
        np.testing.assert_array_equal(two.times[1::2], np.minimum(one.times + 1, 11.5))
    clean = with_clean_view(plain, sample, plan).clean
    assert clean is not None
    assert clean.paired
    np.testing.assert_array_equal(clean.times[::2], sample.times[sample.uniform])


def test_shards_of_the_sampled_frames_alone_have_none() -> None:
    sample = made_sample(0, SAMPLED)
    with pytest.raises(UsageError, match=r"shard\.frames=all"):
        group_of(sample, sample.variants, neighbours=True)
