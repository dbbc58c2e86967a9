"""Several builds as one sequence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from strive_data.config import SamplerSettings
from strive_data.errors import UsageError
from strive_rl.config import DataSettings
from strive_rl.data import Builds
from strive_rl.data.dataset import trained_videos
from tests.strive_rl.made.shards import SAMPLED, SETTINGS, make_shards


def test_samples_of_several_builds_follow_each_other(tmp_path: Path) -> None:
    one, other = make_shards(tmp_path / "a", samples=5), make_shards(tmp_path / "b", samples=3, answers="B")
    both = Builds([one, other])
    assert (len(both), both.blocks) == (8, (4, 1, 3))
    assert [both.locate(i) for i in (0, 4, 5, 7)] == [(0, 0), (0, 4), (1, 0), (1, 2)]
    assert [both.sample_id(i) for i in range(8)] == ["q0", "q1", "q2", "q3", "q4", "q0", "q1", "q2"]
    assert [both.read(i).meta.question.answer for i in (0, 1, 4, 5, 7)] == ["A", "B", "A", "B", "B"]
    assert both.folder == f"{tmp_path / 'a'}, {tmp_path / 'b'}"


def test_a_fingerprint_is_that_of_all_in_their_order(tmp_path: Path) -> None:
    one, other = make_shards(tmp_path / "a", samples=5), make_shards(tmp_path / "b", samples=3)
    assert Builds(one).fingerprint == one.fingerprint
    prints = {Builds(each).fingerprint for each in (one, other, [one, other], [other, one])}
    assert len(prints) == 4


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    one = make_shards(tmp_path / "a")
    with pytest.raises(UsageError, match=r"/a: another --shards has the same samples"):
        Builds([one, one])
    with pytest.raises(UsageError, match=r"/empty: the build holds no sample to train on"):
        Builds(make_shards(tmp_path / "empty", samples=0))


def test_each_build_has_its_own_plan_and_one_that_has_none_is_named(tmp_path: Path) -> None:
    longer = replace(SETTINGS, sampler=replace(SETTINGS.sampler, frames=6))
    sampled = replace(SAMPLED, sampler=replace(SamplerSettings(), frames=4, variants=2))
    parts = [
        make_shards(tmp_path / name, settings=settings)
        for name, settings in (("a", SETTINGS), ("b", longer), ("c", sampled))
    ]
    plans = Builds(parts).plans(DataSettings())
    assert [(plan.sampler.frames, plan.drawn) for plan in plans] == [(4, True), (6, True), (4, False)]
    with pytest.raises(UsageError, match=r"/c: data\.draw=epoch: these shards hold only the sampled frames"):
        Builds(parts).plans(DataSettings(draw="epoch"))


def test_neighbours_are_refused_before_a_run_begins_where_not_all_frames_are_held(tmp_path: Path) -> None:
    settings = DataSettings(variants=SAMPLED.sampler.variants)
    parts = [make_shards(tmp_path / "a"), make_shards(tmp_path / "b", settings=SAMPLED)]
    assert [plan.neighbours for plan in Builds(parts[:1]).plans(settings, neighbours=True)] == [True]
    assert not Builds(parts).plans(settings)[1].neighbours
    with pytest.raises(UsageError, match=r"/b: policy\.frame_pairs=neighbours: .* shard\.frames=all"):
        Builds(parts).plans(settings, neighbours=True)


def test_held_out_videos_that_are_trained_on_are_counted(tmp_path: Path) -> None:
    videos = {"a": ["v0", "v0", "v1"], "b": ["v2", "v3"], "held": ["v1", "v2", "v2", "v9"], "new": ["v8"]}
    opened = {name: make_shards(tmp_path / name, samples=2 + i) for i, name in enumerate([*videos, "bare"])}
    for name, ids in videos.items():
        pl.DataFrame({"video_id": ids}).write_parquet(tmp_path / name / "samples.parquet")
    both = Builds([opened["a"], opened["b"]])
    said = trained_videos(both, opened["held"])
    assert said.startswith("2 of 3 held-out videos are trained on: accuracy will be too high")
    assert f"`strive-data overlap {tmp_path}/a {tmp_path}/held`" in said
    assert trained_videos(both, opened["new"]) == ""
    assert "is not known: no such file" in trained_videos(both, opened["bare"])
