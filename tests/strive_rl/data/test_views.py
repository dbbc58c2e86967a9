"""Which frames a group holds, and what shards cannot give."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strive_data.common.settings import as_dict
from strive_data.config import DecodeSettings, SamplerSettings, ShardSettings, ViewSettings
from strive_data.errors import SettingsError, StriveError, UsageError
from strive_data.sampling.comb import comb_offset
from strive_data.sampling.samplers import draw
from strive_data.sampling.spatial import SpatialView, crop_frames
from strive_data.schema import Sample
from strive_rl.config import DataSettings, PolicySettings, TrainSettings
from strive_rl.data.views import (
    ViewPlan,
    evidence_seen,
    group_of,
    plan_views,
    training_group,
    with_neighbours,
)
from tests.strive_rl.made.shards import SAMPLED, SETTINGS, jpeg, made_sample, make_shards

EVERYTHING = np.arange(12, dtype=np.int32)
DISJOINT = replace(SETTINGS, sampler=SamplerSettings(frames=4, variants=2, kappa=0.5))


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
    with pytest.raises(UsageError, match=r"candidate 5, .* frame_pairs=doubled"):
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


def test_shards_of_the_sampled_frames_alone_have_none() -> None:
    sample = made_sample(0, SAMPLED)
    with pytest.raises(UsageError, match=r"shard\.frames=all"):
        group_of(sample, sample.variants, neighbours=True)


def test_ends_belong_to_a_span_and_nothing_is_said_without_one() -> None:
    spans = ((1.0, 2.0), (5.0, 6.0))
    assert evidence_seen([0.5, 2.0], spans) is True
    assert evidence_seen([0.5, 2.1, 4.9], spans) is False
    assert evidence_seen([0.5], ()) is None


ALL, SOME = as_dict(SETTINGS), as_dict(SAMPLED)


def test_with_all_frames_variants_are_drawn_each_epoch() -> None:
    plan = plan_views(ALL, DataSettings(variants=3, alpha=0.6))
    assert plan.drawn
    assert plan.sampler == replace(SETTINGS.sampler, variants=3, alpha=0.6)
    sample = made_sample(0)
    for epoch in (0, 1):
        group = training_group(sample, plan, seed=5, epoch=epoch)
        expected = draw("comb", sample.scores, plan.sampler, offset=comb_offset(5, "q0", epoch))
        for view, indices in zip(group.views, expected, strict=True):
            np.testing.assert_array_equal(view.times, indices + 0.5)


def test_drawn_variants_follow_the_alpha_of_the_settings() -> None:
    sample = made_sample(0)
    plain, focused = (
        training_group(sample, plan_views(ALL, DataSettings(alpha=alpha)), seed=5, epoch=3)
        for alpha in (None, 0.15)
    )
    assert [v.times.tolist() for v in plain.views] != [v.times.tolist() for v in focused.views]


def test_stored_variants_are_taken_as_they_are() -> None:
    plan = plan_views(ALL, DataSettings(draw="stored"))
    assert not plan.drawn
    sample = made_sample(3)
    group = training_group(sample, plan, seed=5, epoch=7)
    assert group.question.sample_id == "q3"
    for view, indices in zip(group.views, sample.variants, strict=True):
        np.testing.assert_array_equal(view.times, sample.times[indices])
        assert view.frames.shape == (4, 28, 28, 3)


def test_shards_without_all_frames_give_their_stored_variants() -> None:
    assert not plan_views(SOME, DataSettings()).drawn


@pytest.mark.parametrize(
    ("build", "settings", "message"),
    [
        (SOME, {"variants": 4}, r"variants: 2, now 4.*shard.frames=all"),
        (SOME, {"epsilon": 0.1}, r"epsilon: 0.5, now 0.1.*shard.frames=all"),
        (SOME, {"draw": "epoch"}, r"draw=epoch.*shard.frames=all"),
        (ALL, {"draw": "stored", "variants": 1}, r"variants: 2, now 1.*data.draw=auto"),
        (ALL, {"sampler": "combb"}, r"unknown data.sampler 'combb', did you mean 'comb'"),
        (ALL, {"alpha": 2.0}, r"alpha"),
    ],
)
def test_what_the_shards_cannot_give_is_named(
    build: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plan_views(build, DataSettings(**settings))


def test_a_kappa_that_one_variant_cannot_have_is_refused() -> None:
    with pytest.raises(SettingsError, match="kappa"):
        plan_views(as_dict(DISJOINT), DataSettings(variants=1))


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


def wide_sample(number: int = 0, side: int = 112, **question: object) -> Sample:
    """A made sample whose 12 stored frames are squares of `side` pixels."""
    sample = made_sample(number)
    asked = replace(sample.meta.question, **({"question": "Which colour?"} | question))  # type: ignore[arg-type]
    frames = np.random.default_rng(3).integers(0, 256, (12, side, side, 3), dtype=np.uint8)
    return replace(
        sample,
        meta=replace(sample.meta, question=asked),
        jpegs=tuple(jpeg(frame, 90) for frame in frames),
    )


def planned(build: dict[str, Any] = ALL, variants: int = 4, **views: object) -> ViewPlan:
    return plan_views(build, DataSettings(variants=variants, views=ViewSettings(**views)))  # type: ignore[arg-type]


def test_without_views_frames_are_untouched() -> None:
    sample, plan = wide_sample(), planned()
    group = training_group(sample, plan, seed=5, epoch=0)
    assert [view.spatial for view in group.views] == ["whole"] * 4
    for view in group.views:
        (stored,) = group_of(sample, [(view.times - 0.5).astype(np.int32)]).views
        np.testing.assert_array_equal(view.frames, stored.frames)


def test_crops_change_some_frames_of_the_variants_after_the_first() -> None:
    sample, plan = wide_sample(), planned(crop=True)
    groups = [training_group(sample, plan, seed=5, epoch=epoch) for epoch in range(8)]
    cropped = [view for group in groups for view in group.views if view.spatial.startswith("crop")]
    assert {group.views[0].spatial for group in groups} == {"whole"}
    assert 4 < len(cropped) < 20
    for view in cropped:
        (stored,) = group_of(sample, [(view.times - 0.5).astype(np.int32)]).views
        side, left, top = map(float, re.findall(r"0\.\d\d", view.spatial))
        crop = SpatialView(kind="crop", side=side, left=left, top=top)
        np.testing.assert_array_equal(view.frames, crop_frames(stored.frames, crop))
        np.testing.assert_array_equal(view.frames[:2], stored.frames[:2])
        assert not np.array_equal(view.frames[2:], stored.frames[2:])


def test_views_change_no_times_and_come_again() -> None:
    sample = wide_sample()
    plain = training_group(sample, planned(), seed=5, epoch=2)
    first, again = (training_group(sample, planned(crop=True), seed=5, epoch=2) for _ in range(2))
    for a, b, c in zip(first.views, again.views, plain.views, strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.times, c.times)


def test_a_coarse_tier_shows_more_frames_for_the_same_tokens() -> None:
    """4 frames of 4×4 cells; half the pixels in their aspect are 2×2 cells: 16 frames, or all 12."""
    groups = [training_group(wide_sample(), planned(tiers=("coarse",)), seed=5, epoch=e) for e in range(4)]
    seen = {view.spatial: view.frames.shape for group in groups for view in group.views}
    assert seen == {"whole": (4, 112, 112, 3), "tier coarse": (12, 56, 56, 3)}


def test_a_sharp_tier_shows_fewer_frames_of_those_stored() -> None:
    """Base frames of 8 cells are 2×2 with the aspect kept, sharp ones 4×4: 8 frames become 2."""
    build = as_dict(replace(SETTINGS, sampler=SamplerSettings(frames=8, variants=4)))
    plan = planned(build, tiers=("sharp",), pixels=8 * 784)
    groups = [training_group(wide_sample(), plan, seed=5, epoch=e) for e in range(4)]
    seen = {view.spatial: view.frames.shape for group in groups for view in group.views}
    assert seen == {"whole": (8, 56, 56, 3), "tier sharp": (2, 112, 112, 3)}


def test_guarded_questions_and_small_frames_stay_whole() -> None:
    plan = planned(crop=True, tiers=("coarse",))
    guarded = wide_sample(question="How many signs are left of the door?")
    for epoch in range(4):
        group = training_group(guarded, plan, seed=5, epoch=epoch)
        assert {view.spatial for view in group.views} == {"whole"}
    coarse = planned(tiers=("coarse",))
    group = training_group(wide_sample(side=28), coarse, seed=5, epoch=0)
    assert {view.spatial for view in group.views} == {"whole"}


def test_tiers_that_the_shards_or_the_policy_cannot_give_are_refused() -> None:
    with pytest.raises(UsageError, match=r"data\.views\.tiers.*shard\.frames=all"):
        planned(SOME, variants=2, tiers=("coarse",))
    small = as_dict(replace(SETTINGS, decode=DecodeSettings(max_pixels=784)))
    with pytest.raises(UsageError, match="sharp frames have 1568 pixels, the shards' at most 784"):
        planned(small, tiers=("sharp",), pixels=784)
    sharp = DataSettings(views=ViewSettings(tiers=("sharp",), pixels=100_000))
    with pytest.raises(SettingsError, match=r"policy\.max_pixels: got 100352, expected 200000"):
        TrainSettings(data=sharp)
    TrainSettings(data=sharp, policy=PolicySettings(max_pixels=200_000))


SEMANTIC = replace(SETTINGS, sampler=SamplerSettings(frames=4, variants=2, name="comb", grouping="semantic"))


def test_semantic_grouping_is_drawn_by_the_stored_embeddings() -> None:
    build = as_dict(replace(SEMANTIC, shard=ShardSettings(frames="all", embeds=True)))
    embeds = np.random.default_rng(0).normal(size=(12, 6))
    embeds = (embeds / np.linalg.norm(embeds, axis=1, keepdims=True)).astype(np.float16)
    sample = replace(made_sample(0), embeds=embeds)
    plan = plan_views(build, DataSettings())
    group = training_group(sample, plan, seed=5, epoch=0)
    expected = draw(
        "comb",
        sample.scores,
        plan.sampler,
        offset=comb_offset(5, "q0", 0),
        embeddings=embeds.astype(np.float32),
        times=sample.times,
    )
    for view, indices in zip(group.views, expected, strict=True):
        np.testing.assert_array_equal(view.times, sample.times[indices])


def test_without_embeddings_semantic_variants_are_the_stored_ones() -> None:
    with pytest.raises(UsageError, match=r"data\.draw=stored.*shard\.embeds=true"):
        plan_views(as_dict(SEMANTIC), DataSettings())
    assert not plan_views(as_dict(SEMANTIC), DataSettings(draw="stored")).drawn
