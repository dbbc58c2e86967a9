"""Which frames a group holds, and what shards cannot give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from strive_data.config import SamplerSettings, ShardSettings
from strive_data.errors import SettingsError, StriveError, UsageError
from strive_data.samplers import draw, phase
from strive_data.settings import as_dict
from strive_rl.config import DataSettings
from strive_rl.views import evaluation_indices, group_of, plan_views, training_group
from tests.strive_rl.made_shards import SAMPLED, SETTINGS, made_sample

ALL, SOME = as_dict(SETTINGS), as_dict(SAMPLED)


def test_with_all_frames_variants_are_drawn_anew_each_epoch() -> None:
    plan = plan_views(ALL, DataSettings(variants=3, alpha=0.6))
    assert plan.anew
    assert plan.sampler == replace(SETTINGS.sampler, variants=3, alpha=0.6)
    sample = made_sample(0)
    for epoch in (0, 1):
        group = training_group(sample, plan, seed=5, epoch=epoch)
        expected = draw("comb", sample.scores, plan.sampler, phase=phase(5, "q0", epoch))
        for view, indices in zip(group.views, expected, strict=True):
            np.testing.assert_array_equal(view.times, indices + 0.5)


def test_stored_variants_are_taken_as_they_are() -> None:
    plan = plan_views(ALL, DataSettings(draw="stored"))
    assert not plan.anew
    sample = made_sample(3)
    group = training_group(sample, plan, seed=5, epoch=7)
    assert group.question.sample_id == "q3"
    for view, indices in zip(group.views, sample.variants, strict=True):
        np.testing.assert_array_equal(view.times, sample.times[indices])
        assert view.frames.shape == (4, 28, 28, 3)


def test_shards_without_all_frames_give_their_stored_variants() -> None:
    assert not plan_views(SOME, DataSettings()).anew


@pytest.mark.parametrize(
    ("build", "settings", "message"),
    [
        (SOME, {"variants": 4}, r"variants: stored 2, asked 4.*shard.frames=all"),
        (SOME, {"epsilon": 0.1}, r"epsilon: stored 0.5, asked 0.1.*shard.frames=all"),
        (SOME, {"draw": "epoch"}, r"draw=epoch.*shard.frames=all"),
        (ALL, {"draw": "stored", "variants": 1}, r"variants: stored 2, asked 1.*data.draw=auto"),
        (ALL, {"sampler": "combb"}, r"unknown data.sampler 'combb', did you mean 'comb'"),
        (ALL, {"alpha": 2.0}, r"alpha"),
    ],
)
def test_what_the_shards_cannot_give_is_named(
    build: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plan_views(build, DataSettings(**settings))


def test_evaluation_frames_by_hand() -> None:
    sample = made_sample(0)
    flat = replace(sample, scores=np.zeros(12, dtype=np.float32))
    indices, source = evaluation_indices(flat, "uniform")
    assert (indices.tolist(), source) == ([1, 4, 7, 10], "midpoint-uniform")
    indices, source = evaluation_indices(flat, "importance")
    assert (indices.tolist(), source) == ([1, 4, 7, 10], "comb, one variant, phase 1/2")


def test_importance_frames_follow_the_scores() -> None:
    scores = np.full(12, -1.0, dtype=np.float32)
    scores[[5, 6]] = 9.0
    indices, _ = evaluation_indices(replace(made_sample(0), scores=scores), "importance")
    assert {5, 6} <= set(indices.tolist())


def test_evaluation_of_sampled_frames_takes_the_first_stored_variant() -> None:
    sample = made_sample(0, SAMPLED)
    indices, source = evaluation_indices(sample, "importance")
    assert indices.tolist() == sample.variants[0].tolist()
    assert source == "first stored variant of 2"


def test_disjoint_variants_can_be_evaluated_by_one_view() -> None:
    """The build's kappa of 1/2 is no inclusion for M = 1; the single view takes 1."""
    disjoint = replace(SETTINGS, sampler=SamplerSettings(frames=4, variants=2, kappa=0.5))
    indices, _ = evaluation_indices(made_sample(0, disjoint), "importance")
    assert len(indices) == 4
    with pytest.raises(SettingsError, match="kappa"):
        plan_views(as_dict(disjoint), DataSettings(variants=1))


def test_frames_are_those_that_were_stored() -> None:
    sample = made_sample(0, replace(SETTINGS, shard=ShardSettings(frames="all", quality=100)))
    original = np.random.default_rng(0).integers(0, 256, (12, 28, 28, 3), dtype=np.uint8)
    (view,) = group_of(sample, [np.array([2, 9], dtype=np.int32)]).views
    error = np.abs(view.frames.astype(int) - original[[2, 9]])
    other = np.abs(view.frames.astype(int) - original[[3, 8]])
    assert error.mean() < 3 < 50 < other.mean()
    assert view.times.tolist() == [2.5, 9.5]


def test_a_frame_that_is_no_jpeg_is_named() -> None:
    sample = replace(made_sample(0), jpegs=(b"no image",) * 12)
    with pytest.raises(StriveError, match="sample 'q0'"):
        group_of(sample, [np.array([0], dtype=np.int32)])
